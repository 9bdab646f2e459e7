// Calls over links that lose packets or are too narrow, through the proxy `impair`.

import assert from 'node:assert/strict';
import { outbound } from '../harness/browser.mjs';
import { WINDOW_MS } from '../harness/extent.mjs';
import { allLayersSent, THREE_LAYERS, WIDTHS } from '../harness/layers.mjs';
import { assertObserved, assertWatched, change, FRAMES_MIN, impairedScenario } from '../harness/scenario.mjs';
import { during, Viewer } from '../harness/viewer.mjs';
import { wait } from '../harness/wait.mjs';

const LOSS = 0.05;
const SETTLE_MS = 3_000;
// Until the browsers have found out how much they may send.
const ESTIMATE_MS = 20_000;

impairedScenario('the picture goes on while a twentieth is lost on the way down', {}, async ({ open, impairment }) => {
  const [ada, grace] = await callOfTwo(open);
  await impairment.impair(ada, { down: { delay_ms: 20, loss: LOSS } });
  const before = await grace.stats();
  await assertWatched([ada], ({ video, audio }) => {
    assertSeen(video);
    assertHeard(audio);
    assert.ok(video.retransmittedPacketsReceived > 0, 'nothing was sent again');
  });
  const other = change(before, await grace.stats(), 'video');
  assert.equal(other.packetsLost, 0, 'the loss of one is seen by the other');
  const { down } = await impairment.statistics(ada);
  assertLossy(down);
});

impairedScenario('the picture goes on while a twentieth is lost on the way up', {}, async ({ open, impairment }) => {
  const [ada, grace] = await callOfTwo(open);
  await impairment.impair(ada, { up: { delay_ms: 20, loss: LOSS } });
  await wait(SETTLE_MS);
  const before = await ada.stats();
  await assertWatched([grace], ({ video, audio }) => {
    assertSeen(video);
    assertHeard(audio);
  });
  const { up } = await impairment.statistics(ada);
  assertLossy(up);
  const sent = outbound(await ada.stats(), 'video')[0];
  const again = sent.retransmittedPacketsSent - outbound(before, 'video')[0].retransmittedPacketsSent;
  assert.ok(again > 0, 'the server asked for nothing again');
});

impairedScenario('the best that fits goes on where 2 Mb/s pass and a twentieth is lost', {}, async ({ open, impairment }) => {
  const publisher = await open({ ...THREE_LAYERS, codec: 'VP8' });
  await allLayersSent(publisher);
  const viewer = await Viewer.open(open, await publisher.stats());
  await impairment.impair(viewer, { up: { delay_ms: 25 }, down: { delay_ms: 25, rate_kbps: 2_000, queue_ms: 300, loss: LOSS } });
  await wait(ESTIMATE_MS);
  await assertObserved(() => viewer.observe(WINDOW_MS), (samples) => {
    const { frames, freezes, frozen, packetsRepeated } = during(samples);
    const widths = [...new Set(samples.map(({ width }) => width))];
    console.log(`${frames} frames, ${freezes} freezes of ${frozen.toFixed(2)} s, ${packetsRepeated} packets repeated, widths ${widths}`);
    assert.ok(frozen < WINDOW_MS / 1_000 / 10, `${freezes} freezes of ${frozen} s`);
    assert.ok(frames > 25 * WINDOW_MS / 1_000, `only ${frames} frames decoded`);
    assert.ok(packetsRepeated > 0, 'nothing was sent again');
    assert.ok(widths.every((width) => width > WIDTHS.c), `widths ${widths}`);
  });
  const { down } = await impairment.statistics(viewer);
  console.log(`${down.lost} of ${down.packets} packets lost, ${down.overflowed} found the queue full`);
  assert.ok(down.lost > down.packets * LOSS / 2, `${down.lost} of ${down.packets} packets lost`);
});

impairedScenario('two tabs call each other over links of 1 Mb/s without a freeze', {}, async ({ open, impairment }) => {
  const link = { rate_kbps: 1_000, delay_ms: 50, queue_ms: 300 };
  await impairment.impairAll({ up: link, down: link });
  const tabs = await callOfTwo(open);
  await wait(ESTIMATE_MS);
  await assertWatched(tabs, ({ video, audio }) => {
    console.log(`${(video.bytesReceived * 8 / video.timestamp).toFixed(0)} kb/s, ${video.packetsLost} packets lost`);
    assertSeen(video);
    assertHeard(audio);
  });
});

async function callOfTwo(open) {
  const tabs = [await open({ name: 'Ada' }), await open({ name: 'Grace' })];
  await Promise.all(tabs.map((tab) => tab.inCallWith(1)));
  return tabs;
}

// The link did what the scenario is about.
function assertLossy(link) {
  assert.equal(link.overflowed, 0);
  const share = link.lost / link.packets;
  assert.ok(share > LOSS / 2 && share < LOSS * 2, `${link.lost} of ${link.packets} packets lost`);
}

function assertSeen(video) {
  const { framesDecoded, freezeCount, totalFreezesDuration } = video;
  console.log(`${framesDecoded} frames, ${freezeCount} freezes of ${totalFreezesDuration.toFixed(2)} s, ${video.nackCount} NACKs, ${video.pliCount} PLIs`);
  assert.ok(framesDecoded > FRAMES_MIN, `only ${framesDecoded} frames decoded`);
  assert.ok(freezeCount <= 1, `${freezeCount} freezes`);
  assert.ok(totalFreezesDuration < 1, `frozen for ${totalFreezesDuration} s`);
}

// Sound is not sent again: what is missing is concealed, but no more than that.
function assertHeard(audio) {
  const concealed = audio.concealedSamples / audio.totalSamplesReceived;
  console.log(`${(100 * concealed).toFixed(1)} % of the sound concealed`);
  assert.ok(concealed < 2 * LOSS, `${concealed} of the sound concealed`);
  assert.ok(audio.totalAudioEnergy > 1e-4, `audio energy ${audio.totalAudioEnergy}`);
}
