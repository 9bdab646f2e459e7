// The unmodified `partytracks` from npm: its client straight at the API, and through its own proxy.

import assert from 'node:assert/strict';
import http from 'node:http';
import esbuild from 'esbuild';
import { routePartyTracksRequest } from 'partytracks/server';
import { Tab } from '../harness/browser.mjs';
import { scenario } from '../harness/scenario.mjs';
import { APP, SECRET } from '../harness/server.mjs';

const WATCH_MS = 5_000;

scenario('the partytracks client pushes and pulls straight at the API, from another origin', {}, async ({ browser, server }) => {
  await onPageOf(browser, () => null, async (tab) => {
    assertReceived(await tab.page.evaluate((config) => window.pushAndPull(config), {
      prefix: `${server.origin}/v1/apps/${APP}`,
      authorization: `Bearer ${SECRET}`,
      iceServers: [],
      milliseconds: WATCH_MS,
    }));
  });
});

scenario('the partytracks client pushes and pulls through the partytracks server proxy', {}, async ({ browser, server }) => {
  const proxied = [];
  const proxy = (request) => {
    const { pathname } = new URL(request.url);
    if (!pathname.startsWith('/partytracks/')) return null;
    proxied.push(`${request.method} ${pathname.replace(/[0-9a-f]{32}/g, 'ID')}`);
    if (pathname.endsWith('/generate-ice-servers')) {
      // Without TURN keys the proxy would name a STUN server on the internet; tests stay on this machine.
      return Response.json({ iceServers: [] });
    }
    return routePartyTracksRequest({
      appId: APP, token: SECRET, prefix: '/partytracks', realtimeApiBaseUrl: `${server.origin}/v1`, request,
    });
  };
  await onPageOf(browser, proxy, async (tab) => {
    assertReceived(await tab.page.evaluate((config) => window.pushAndPull(config), {
      prefix: '/partytracks', iceServers: [], milliseconds: WATCH_MS,
    }));
  });
  assert.equal(proxied.filter((line) => line === 'POST /partytracks/sessions/new').length, 2);
  assert.ok(proxied.includes('PUT /partytracks/sessions/ID/renegotiate'), proxied.join(', '));
});

function assertReceived({ pushed, before, after }) {
  assert.equal(pushed.length, 2);
  for (const { sessionId } of pushed) assert.match(sessionId, /^[0-9a-f]{32}$/);
  const frames = after.video.framesDecoded - before.video.framesDecoded;
  const packets = after.audio.packetsReceived - before.audio.packetsReceived;
  // Chromium's pretended camera gives 20 frames a second at the least.
  assert.ok(frames > (WATCH_MS / 1000) * 15, `${frames} frames decoded`);
  assert.ok(packets > (WATCH_MS / 1000) * 40, `${packets} audio packets`);
  assert.equal(after.video.packetsLost, 0);
  assert.equal(after.audio.packetsLost, 0);
}

// A small web server with the bundled client on its page; `handle` may answer other requests.
async function onPageOf(browser, handle, body) {
  const bundle = await esbuild.build({
    entryPoints: [new URL('../clients/partytracks-page.mjs', import.meta.url).pathname],
    bundle: true, format: 'esm', write: false, logLevel: 'error',
  });
  const script = bundle.outputFiles[0].text;
  const web = http.createServer(async (incoming, outgoing) => {
    const answer = await answerTo(incoming, script, handle).catch((error) => new Response(String(error), { status: 500 }));
    outgoing.writeHead(answer.status, Object.fromEntries(answer.headers));
    outgoing.end(Buffer.from(await answer.arrayBuffer()));
  });
  await new Promise((resolve) => web.listen(0, '127.0.0.1', resolve));
  try {
    const tab = await Tab.openUrl(browser, `http://127.0.0.1:${web.address().port}/`);
    await tab.page.waitForFunction(() => window.pushAndPull);
    await body(tab);
    assert.deepEqual(tab.errors, []);
  } finally {
    web.closeAllConnections();
    web.close();
  }
}

async function answerTo(incoming, script, handle) {
  if (incoming.url === '/') return typed('text/html', '<!doctype html><body><script type="module" src="/client.js"></script>');
  if (incoming.url === '/client.js') return typed('text/javascript', script);
  const answer = await handle(await toRequest(incoming));
  return answer ?? new Response('', { status: 404 });
}

function typed(type, text) {
  return new Response(text, { headers: { 'Content-Type': `${type}; charset=utf-8` } });
}

async function toRequest(incoming) {
  const chunks = [];
  for await (const chunk of incoming) chunks.push(chunk);
  const body = Buffer.concat(chunks);
  return new Request(`http://${incoming.headers.host}${incoming.url}`, {
    method: incoming.method,
    headers: incoming.headers,
    body: body.length > 0 ? body : undefined,
  });
}

// Node wants `duplex: 'half'` wherever a stream is a body; workerd, for which the proxy is written, does not.
const nodeFetch = globalThis.fetch;
globalThis.fetch = (input, init) => nodeFetch(input, init?.body ? { ...init, duplex: 'half' } : init);
