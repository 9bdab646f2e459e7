// A publisher that sends three sizes, and subscribers who choose among them.

import assert from 'node:assert/strict';
import { inbound, outbound } from '../harness/browser.mjs';
import { allLayersSent, THREE_LAYERS, WIDTHS } from '../harness/layers.mjs';
import { change, scenario } from '../harness/scenario.mjs';
import { APP, SECRET } from '../harness/server.mjs';
import { until, wait } from '../harness/wait.mjs';

const SWITCH_TIMEOUT_MS = 6_000;

for (const codec of ['VP8', 'H264']) {
  scenario(`a subscriber switches between the layers of ${codec} without a decode error`, {}, async ({ open }) => {
    const publisher = await open({ ...THREE_LAYERS, codec });
    await allLayersSent(publisher);
    const subscriber = await open({ size: '320x180' });
    await subscriber.inCallWith(1);
    await widthIs(subscriber, WIDTHS.a);
    const before = await subscriber.stats();
    const sentBefore = await publisher.stats();
    const switches = ['c', 'a', 'b', 'c', 'b', 'a'];
    for (const rid of switches) {
      await prefer(subscriber, rid);
      await widthIs(subscriber, WIDTHS[rid]);
      await wait(1_000);
    }
    const video = change(before, await subscriber.stats(), 'video');
    // An undecodable frame makes the browser ask for a key frame: no question, no error.
    assert.equal(video.pliCount, 0, 'the decoder asked for a key frame');
    assert.equal(video.packetsLost, 0);
    assert.ok(video.framesReceived - video.framesDecoded - video.framesDropped <= 3, 'frames that were never decoded');
    // Chromium drops what it had no time to draw.
    assert.ok(video.framesDropped <= video.framesReceived / 6, `${video.framesDropped} of ${video.framesReceived} frames dropped`);
    assert.ok(video.freezeCount <= 1, `${video.freezeCount} freezes in ${switches.length} switches`);
    assert.ok(video.keyFramesDecoded >= switches.length, 'a switch without a key frame');
    // One question per switch, and as many again for layers that Chromium restarts by itself.
    const asked = sum(outbound(await publisher.stats(), 'video'), 'pliCount') - sum(outbound(sentBefore, 'video'), 'pliCount');
    assert.ok(asked <= 2 * switches.length, `${asked} key frames asked of the publisher for ${switches.length} switches`);
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

async function prefer(subscriber, rid) {
  await subscriber.page.evaluate((wanted) => {
    const select = document.querySelector('.tile:not(.own) .layer select');
    select.value = wanted;
    select.dispatchEvent(new Event('change'));
  }, rid);
}

function widthIs(subscriber, width) {
  return until(`a picture ${width} wide`, SWITCH_TIMEOUT_MS, async () => {
    const [video] = inbound(await subscriber.stats(), 'video');
    return video?.frameWidth === width;
  });
}

function sum(entries, field) {
  return entries.reduce((total, entry) => total + (entry[field] ?? 0), 0);
}
