// A viewer goes from layer to layer, and what that must not cost.

import assert from 'node:assert/strict';
import { outbound } from './browser.mjs';
import { SWITCHES } from './extent.mjs';
import { during } from './viewer.mjs';
import { until } from './wait.mjs';

const SWITCH_TIMEOUT_MS = 6_000;
// Pictures of a layer that are seen before another one is asked for.
const PICTURES_SEEN = 6;
// Pictures that may be on their way through the decoder when figures are read.
const PICTURES_UNDER_WAY = 3;

/**
 * Asks for one layer after the other, each from each other in turn, and waits for its picture.
 *
 * `layers` are `{wish, width}`, the best first: `wish` is for `Viewer.ask`.
 * Resolves to `{switches, seen}`: every switch with `isDown`, the `seconds` until its picture came and
 * how many key frames were `asked` of the publisher for it; and how the viewer's figures grew.
 */
export async function switchAround(viewer, publisher, layers) {
  await viewer.ask(layers[0].wish);
  await seePictures(viewer, layers[0].width);
  const before = await viewer.sample();
  const round = ROUNDS[layers.length];
  const switches = [];
  let present = 0;
  let askedBefore = await keyFramesAskedOf(publisher);
  for (let count = 0; count < SWITCHES; count += 1) {
    const next = round[count % round.length];
    await viewer.ask(layers[next].wish);
    const seconds = await viewer.widthIs(`${layers[next].width} wide`, SWITCH_TIMEOUT_MS, (width) => width === layers[next].width);
    await seePictures(viewer, layers[next].width);
    const askedNow = await keyFramesAskedOf(publisher);
    switches.push({ isDown: next > present, seconds, asked: askedNow - askedBefore });
    [present, askedBefore] = [next, askedNow];
  }
  const seen = during([before, await viewer.sample()]);
  tell(switches, seen);
  return { switches, seen };
}

/** The decoder could do with all that it got, and got all, if need be by a repeat: it asked for no key frame. */
export function assertDecoded({ switches, seen }) {
  assert.equal(seen.keyFramesAsked, 0, 'the decoder asked for a key frame');
  assert.ok(!isLossy({ seen }), `${seen.packetsLost} packets are missing, ${seen.packetsRepeated} were repeated`);
  const lost = seen.framesReceived - seen.frames - seen.framesDropped;
  assert.ok(lost <= PICTURES_UNDER_WAY, `${lost} pictures were never decoded`);
  // Chromium drops what it had no time to draw.
  assert.ok(seen.framesDropped <= seen.framesReceived / 6, `${seen.framesDropped} of ${seen.framesReceived} pictures dropped`);
  assert.ok(seen.freezes <= switches.length / 6, `${seen.freezes} freezes in ${switches.length} switches`);
}

/** Key frames that were asked of the publisher for these switches. */
export function keyFramesFor(switches) {
  return switches.reduce((sum, { asked }) => sum + asked, 0);
}

/** Whether something was seen that no lack of time of the machine explains. */
export function isLossy({ seen }) {
  return seen.packetsLost > seen.packetsRepeated;
}

// For whatever layer, since it began.
async function keyFramesAskedOf(publisher) {
  return outbound(await publisher.stats(), 'video').reduce((total, { pliCount }) => total + (pliCount ?? 0), 0);
}

function seePictures(viewer, width) {
  let first;
  return until(`${PICTURES_SEEN} pictures ${width} wide`, SWITCH_TIMEOUT_MS, async () => {
    const { width: seen, frames } = await viewer.sample();
    first = seen === width ? first ?? frames : undefined;
    return frames >= first + PICTURES_SEEN;
  });
}

function tell(switches, seen) {
  const [down, up] = [true, false].map((isDown) => switches.filter((one) => one.isDown === isDown));
  const seconds = switches.map((one) => one.seconds).sort((a, b) => a - b);
  const median = seconds[Math.floor(seconds.length / 2)];
  console.log(`${down.length} switches down (${keyFramesFor(down)} key frames asked for), ${up.length} up (${keyFramesFor(up)}), `
    + `${median.toFixed(2)} s each, ${seconds.at(-1).toFixed(2)} s at most; of ${seen.framesReceived} pictures ${seen.framesDropped} dropped, `
    + `${seen.packetsLost} packets lost and ${seen.packetsRepeated} repeated, ${seen.keyFrames} key frames, ${seen.freezes} freezes of ${seen.frozen.toFixed(1)} s`);
}

// From the best to the others, so that each is left for each other, and back to the best at last.
const ROUNDS = { 2: [1, 0], 3: [2, 0, 1, 2, 1, 0] };
