// The server finds out what a subscriber's link holds, and gives everybody the best layer that fits.

import assert from 'node:assert/strict';
import { inbound } from '../harness/browser.mjs';
import { allLayersSent, THREE_LAYERS, WIDTHS } from '../harness/layers.mjs';
import { assertObserved, assertWatched, impairedScenario } from '../harness/scenario.mjs';
import { Viewer } from '../harness/viewer.mjs';
import { wait } from '../harness/wait.mjs';

// Chromium sends about 150, 375 and 1700 kb/s of picture, and 33 kb/s of sound.
const WIDE = { down: { delay_ms: 20 } };
const ONE_LAYER_LESS = { down: { delay_ms: 20, rate_kbps: 600, queue_ms: 300 } };
const HARDLY_MORE_THAN_SOUND = { down: { delay_ms: 20, rate_kbps: 100, queue_ms: 300 } };
const BEST_TIMEOUT_MS = 20_000;
// "Within about 3 s", on a machine that encodes and decodes as well.
const LOWER_TIMEOUT_MS = 4_000;
const SETTLE_MS = 5_000;
const WATCH_MS = 10_000;
const SAMPLE_RATE = 48_000;

impairedScenario('a viewer without wishes gets a lower layer while its link is narrow', {}, async ({ open, impairment }) => {
  const viewer = await Viewer.open(open, await publisherOfThree(open));
  tell('the best layer came after', await seesBest(viewer));
  await impairment.impair(viewer, ONE_LAYER_LESS);
  tell('a lower layer came after', await seesLess(viewer));
  await wait(SETTLE_MS);
  await assertObserved(() => viewer.observe(WATCH_MS), (samples) => {
    tellRate(samples);
    assert.ok(samples.every(({ width }) => width < WIDTHS.a), `widths ${samples.map(({ width }) => width)}`);
    assertSmooth(samples);
    assertHeard(samples);
  });
  await impairment.impair(viewer, WIDE);
  tell('the best layer came back after', await seesBest(viewer));
});

impairedScenario('sound is whole where hardly more than sound fits', {}, async ({ open, impairment }) => {
  const viewer = await Viewer.open(open, await publisherOfThree(open));
  await seesBest(viewer);
  await impairment.impair(viewer, HARDLY_MORE_THAN_SOUND);
  await wait(2 * SETTLE_MS);
  await assertObserved(() => viewer.observe(WATCH_MS), (samples) => {
    tellRate(samples);
    // The picture pauses, or is what little fits of the smallest layer.
    const { frames } = during(samples);
    assert.ok(frames === 0 || samples.every(({ width }) => width === WIDTHS.c), 'a picture that does not fit');
    assertHeard(samples);
  });
  await impairment.impair(viewer, WIDE);
  tell('the best layer came back after', await seesBest(viewer));
});

impairedScenario('a viewer with a wide link keeps the best layer beside one with a narrow link', {}, async ({ open, impairment }) => {
  const publisher = await publisherOfThree(open);
  const narrow = await Viewer.open(open, publisher);
  const wide = await Viewer.open(open, publisher);
  await Promise.all([seesBest(narrow), seesBest(wide)]);
  await impairment.impair(narrow, ONE_LAYER_LESS);
  await assertObserved(() => wide.observe(LOWER_TIMEOUT_MS + WATCH_MS), (samples) => {
    tellRate(samples);
    assert.ok(samples.every(({ width }) => width === WIDTHS.a), `widths ${samples.map(({ width }) => width)}`);
    assertSmooth(samples);
    assertHeard(samples);
  });
  await seesLess(narrow);
});

impairedScenario('two tabs that send three layers see what fits through 1 Mb/s', {}, async ({ open, impairment }) => {
  await impairment.impairAll({ down: { delay_ms: 50, rate_kbps: 1_000, queue_ms: 300 } });
  const tabs = [await open({ ...THREE_LAYERS, codec: 'VP8' }), await open({ ...THREE_LAYERS, codec: 'VP8' })];
  await Promise.all(tabs.map((tab) => tab.inCallWith(1)));
  await Promise.all(tabs.map(allLayersSent));
  await wait(2 * SETTLE_MS);
  await assertWatched(tabs, ({ after, video, audio }) => {
    const [{ frameWidth }] = inbound(after, 'video');
    console.log(`${frameWidth} wide, ${video.framesDecoded} frames, ${video.freezeCount} freezes of ${video.totalFreezesDuration.toFixed(1)} s`);
    assert.equal(frameWidth, WIDTHS.b);
    assert.ok(video.framesDecoded > 15 * WATCH_MS / 1_000, `only ${video.framesDecoded} frames decoded`);
    assert.ok(video.freezeCount <= 1 && video.totalFreezesDuration < 1, `frozen for ${video.totalFreezesDuration} s`);
    assert.equal(audio.packetsLost, 0, 'audio packets are missing');
  });
});

async function publisherOfThree(open) {
  const publisher = await open({ ...THREE_LAYERS, codec: 'VP8' });
  await allLayersSent(publisher);
  return publisher.stats();
}

function seesBest(viewer) {
  return viewer.widthIs('of the best layer', BEST_TIMEOUT_MS, (width) => width === WIDTHS.a);
}

function seesLess(viewer) {
  return viewer.widthIs('of a lower layer', LOWER_TIMEOUT_MS, (width) => width < WIDTHS.a);
}

// Pictures follow each other, without a freeze of a second or more.
function assertSmooth(samples) {
  const { frames, freezes, frozen } = during(samples);
  assert.ok(frames > 15 * WATCH_MS / 1_000, `only ${frames} frames decoded`);
  assert.ok(freezes <= 1 && frozen < 1, `${freezes} freezes of ${frozen} s`);
}

// Sound comes before pictures: nothing of it is lost.
function assertHeard(samples) {
  const { audioPacketsLost, audioSamplesConcealed, audioSamples } = during(samples);
  assert.equal(audioPacketsLost, 0, 'audio packets are missing');
  assert.ok(audioSamples > SAMPLE_RATE * WATCH_MS / 1_000 / 2, `only ${audioSamples} samples of sound`);
  assert.ok(audioSamplesConcealed < audioSamples / 50, `${audioSamplesConcealed} of ${audioSamples} samples concealed`);
}

// How much every counter grew from the first sample to the last.
function during(samples) {
  const [first, last] = [samples[0], samples.at(-1)];
  return Object.fromEntries(Object.entries(last).map(([key, value]) => [key, value - first[key]]));
}

function tell(what, seconds) {
  console.log(`${what} ${seconds.toFixed(1)} s`);
}

function tellRate(samples) {
  const { bytes, frames, freezes, frozen } = during(samples);
  console.log(`${(bytes * 8 / WATCH_MS).toFixed(0)} kb/s, ${frames} frames, ${freezes} freezes of ${frozen.toFixed(1)} s, widths ${[...new Set(samples.map(({ width }) => width))]}`);
}
