// Server-Sent Events over `fetch`: the browser's own `EventSource` cannot send a secret in a header.

/** Yields `{type, data}` for each event of a response's body, as our server writes them. */
export async function* serverSentEvents(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let unread = '';
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      const blocks = (unread + value).split('\n\n');
      unread = blocks.pop();
      for (const block of blocks) yield parse(block);
    }
  } finally {
    // Also when nobody wants to hear more: the connection is given back.
    await reader.cancel().catch(() => {});
  }
}

function parse(block) {
  const fields = block.split('\n').map((line) => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 1).trimStart()]);
  const values = (name) => fields.filter(([field]) => field === name).map(([, value]) => value);
  return { type: values('event').pop() ?? 'message', data: values('data').join('\n') };
}
