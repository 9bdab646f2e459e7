// Waiting, with a sentence for when it was in vain.

/** Resolves after `milliseconds`. */
export function wait(milliseconds) {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}

/**
 * Asks `probe` until it answers something truthy, and resolves to that.
 *
 * Rejects after `timeoutMs` with what was waited for and what the last answer was.
 */
export async function until(what, timeoutMs, probe, everyMs = 100) {
  const deadline = performance.now() + timeoutMs;
  let answer;
  for (;;) {
    answer = await probe();
    if (answer) return answer;
    if (performance.now() >= deadline) break;
    await wait(everyMs);
  }
  throw new Error(`waited ${timeoutMs} ms in vain for ${what} (last answer: ${JSON.stringify(answer)})`);
}
