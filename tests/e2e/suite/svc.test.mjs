// A publisher whose one stream has layers inside (SVC), and viewers who get some of them.

import assert from 'node:assert/strict';
import { link } from '../harness/impairment.mjs';
import { widthsSent } from '../harness/layers.mjs';
import { assertObserved, impairedScenario, scenario } from '../harness/scenario.mjs';
import { assertDecoded, assertOneKeyFrameEach, isLossy, keyFramesFor, switchAround } from '../harness/switching.mjs';
import { during, Viewer } from '../harness/viewer.mjs';
import { until } from '../harness/wait.mjs';

// AV1 is dear to encode: two smaller layers of it are what two cores can do beside all else.
const THREE = { size: '960x540', layers: [[960, 540], [480, 270], [240, 136]] };
const TWO = { size: '640x360', layers: [[640, 360], [320, 180]] };

const WIDE_KBPS = 3_000;
const SOUND_KBPS = 45;
const STEP_MS = 5_000;
const AFTER_MS = 2_000;
const BACK_TIMEOUT_MS = 30_000;

for (const { codec, scalability, size, layers } of [
  { codec: 'VP9', scalability: 'L3T3', ...THREE },
  { codec: 'AV1', scalability: 'L2T2', ...TWO },
]) {
  scenario(`a viewer goes down among the spatial layers of ${codec} ${scalability} without a key frame, and up with one`, {}, async ({ open }) => {
    await assertObserved(await switching(open, { codec, scalability, size }, layers), (result) => {
      assertDecoded(result);
      const down = result.switches.filter(({ isDown }) => isDown);
      const up = result.switches.filter(({ isDown }) => !isDown);
      assert.equal(keyFramesFor(down), 0, 'a key frame was asked for to go down');
      assertOneKeyFrameEach(up);
    }, isLossy);
  });
}

// Between key frames, the lower layers are no part of the higher ones here.
for (const { codec, scalability, size, layers } of [
  { codec: 'VP9', scalability: 'L3T3_KEY', ...THREE },
  { codec: 'AV1', scalability: 'L2T2_KEY', ...TWO },
]) {
  scenario(`a viewer switches between the spatial layers of ${codec} ${scalability} with a key frame each`, {}, async ({ open }) => {
    await assertObserved(await switching(open, { codec, scalability, size }, layers), (result) => {
      assertDecoded(result);
      assertOneKeyFrameEach(result.switches);
    }, isLossy);
  });
}

// A link that takes the given share of a stream, and the pictures a second that are left then, at least.
for (const { codec, scalability, size, layers, share, framesMin } of [
  { codec: 'VP9', scalability: 'L3T3', ...THREE, share: 0.4, framesMin: 15 },
  { codec: 'AV1', scalability: 'L1T3', ...TWO, share: 0.7, framesMin: 4 },
]) {
  impairedScenario(`what fits of ${codec} ${scalability} goes on where a link becomes narrow, and all of it comes back`, {}, async ({ open, impairment }) => {
    const { viewer } = await pair(open, { codec, scalability, size }, layers);
    const best = () => seesAllOf(viewer, layers[0][0]);
    await assertObserved(() => narrow(viewer, impairment, { best, share }), ({ kbps, step, after }) => {
      const { frozen, keyFramesAsked } = during(step);
      console.log(`a link of ${kbps.toFixed(0)} kb/s: frozen for ${frozen.toFixed(2)} s, ${during(after).frames} frames later on`);
      assert.equal(keyFramesAsked, 0, 'the decoder had to ask for a key frame');
      assert.ok(frozen < 1.5, `frozen for ${frozen} s`);
      assert.ok(during(after).frames >= framesMin * AFTER_MS / 1_000, `only ${during(after).frames} frames`);
    });
    await impairment.impair(viewer, link(WIDE_KBPS));
    await best();
  });
}

// Resolves to the link's rate, and to what is seen while it becomes narrow and after that.
async function narrow(viewer, impairment, { best, share }) {
  await impairment.impair(viewer, link(WIDE_KBPS));
  await best();
  const { bytes } = during(await viewer.observe(STEP_MS));
  const kbps = share * bytes * 8 / STEP_MS + SOUND_KBPS;
  await impairment.impair(viewer, link(kbps));
  const step = await viewer.observe(STEP_MS);
  return { kbps, step, after: await viewer.observe(AFTER_MS) };
}

// Waits until pictures of this width come as fast as they are sent.
function seesAllOf(viewer, width) {
  return until(`all pictures ${width} wide`, BACK_TIMEOUT_MS, async () => {
    const samples = await viewer.observe(AFTER_MS);
    return samples.every((sample) => sample.width === width) && during(samples).frames > 15 * AFTER_MS / 1_000;
  });
}

// Resolves to what switches a viewer of such a publisher around.
async function switching(open, fragment, layers) {
  const { publisher, viewer } = await pair(open, fragment, layers);
  const wishes = layers.map(([width, maxHeight]) => ({ wish: { maxHeight }, width }));
  return () => switchAround(viewer, publisher, wishes);
}

async function pair(open, fragment, layers) {
  const publisher = await open({ ...fragment, name: 'Layers' });
  await widthsSent(publisher, [layers[0][0]]);
  return { publisher, viewer: await Viewer.open(open, await publisher.stats()) };
}
