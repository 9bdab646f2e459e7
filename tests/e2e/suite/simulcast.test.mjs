// A publisher that sends three sizes, and subscribers who choose among them.

import assert from 'node:assert/strict';
import { allLayersSent, THREE_LAYERS, WIDTHS } from '../harness/layers.mjs';
import { assertObserved, scenario } from '../harness/scenario.mjs';
import { APP, SECRET } from '../harness/server.mjs';
import { assertDecoded, isLossy, keyFramesFor, switchAround } from '../harness/switching.mjs';
import { Viewer } from '../harness/viewer.mjs';

for (const codec of ['VP8', 'VP9', 'H264', 'AV1']) {
  scenario(`a viewer switches between the encodings of ${codec} without a decode error`, {}, async ({ open }) => {
    const publisher = await open({ ...THREE_LAYERS, codec });
    await allLayersSent(publisher);
    const viewer = await Viewer.open(open, { ...await publisher.stats(), simulcast: only('a') });
    const layers = Object.entries(WIDTHS).map(([rid, width]) => ({ wish: { simulcast: only(rid) }, width }));
    await assertObserved(() => switchAround(viewer, publisher, layers), (result) => {
      assertDecoded(result);
      const { switches, seen } = result;
      assert.ok(seen.keyFrames >= switches.length, 'a switch without a key frame');
      // One question for a switch, and as many again for layers that Chromium restarts by itself.
      const asked = keyFramesFor(switches);
      assert.ok(asked <= 2 * switches.length, `${asked} key frames asked of the publisher for ${switches.length} switches`);
    }, isLossy);
  });
}

scenario('each layer is pulled by its rid', {}, async ({ open }) => {
  const publisher = await open(THREE_LAYERS);
  await allLayersSent(publisher);
  const { sessionId } = await publisher.stats();
  const viewer = await open({ autostart: '0' });
  const seen = await viewer.page.evaluate(pullEachLayer, { app: APP, secret: SECRET, sessionId, rids: Object.keys(WIDTHS) });
  for (const { rid, width, framesDecoded } of seen) {
    assert.equal(width, WIDTHS[rid], `layer ${rid}`);
    assert.ok(framesDecoded > 60, `layer ${rid}: ${framesDecoded} frames in 4 s`);
  }
});

// Runs in the page: one connection for each rid, as three different people would pull.
async function pullEachLayer({ app, secret, sessionId, rids }) {
  const { Api } = await import('/static/api.js');
  const { Call } = await import('/static/call.js');
  const calls = await Promise.all(rids.map(async (rid) => {
    const call = await Call.open(new Api({ app, secret }));
    const simulcast = { preferredRid: rid, priorityOrdering: 'none', ridNotAvailable: 'none' };
    const [{ error }] = await call.pull([{ sessionId, trackName: 'video', simulcast }]);
    if (error) throw error;
    await call.connected();
    return { rid, call };
  }));
  await new Promise((resolve) => setTimeout(resolve, 4_000));
  return Promise.all(calls.map(async ({ rid, call }) => {
    const report = Array.from((await call.report()).values());
    const video = report.find(({ type }) => type === 'inbound-rtp');
    call.close();
    return { rid, width: video?.frameWidth, framesDecoded: video?.framesDecoded };
  }));
}

function only(rid) {
  return { preferredRid: rid, priorityOrdering: 'none', ridNotAvailable: 'asciibetical' };
}
