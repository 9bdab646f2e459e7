// A publisher whose one stream has layers inside (SVC), and viewers who get some of them.

import assert from 'node:assert/strict';
import { widthsSent } from '../harness/layers.mjs';
import { assertObserved, scenario } from '../harness/scenario.mjs';
import { assertDecoded, isLossy, keyFramesFor, switchAround } from '../harness/switching.mjs';
import { Viewer } from '../harness/viewer.mjs';

// AV1 is dear to encode: two smaller layers of it are what two cores can do beside all else.
const THREE = { size: '960x540', layers: [[960, 540], [480, 270], [240, 136]] };
const TWO = { size: '640x360', layers: [[640, 360], [320, 180]] };

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
      assert.ok(keyFramesFor(up) <= up.length, `${keyFramesFor(up)} key frames asked for to go up ${up.length} times`);
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
      const asked = keyFramesFor(result.switches);
      assert.ok(asked <= result.switches.length, `${asked} key frames asked for in ${result.switches.length} switches`);
    }, isLossy);
  });
}

// Resolves to what switches a viewer of such a publisher around.
async function switching(open, fragment, layers) {
  const publisher = await open({ ...fragment, name: 'Layers' });
  await widthsSent(publisher, [layers[0][0]]);
  const viewer = await Viewer.open(open, await publisher.stats());
  const wishes = layers.map(([width, maxHeight]) => ({ wish: { maxHeight }, width }));
  return () => switchAround(viewer, publisher, wishes);
}
