// A viewer goes from layer to layer, and what that must not cost.

import assert from 'node:assert/strict';
import { outbound } from './browser.mjs';
import { SWITCHES } from './extent.mjs';
import { widthsSent } from './layers.mjs';
import { during } from './viewer.mjs';
import { until } from './wait.mjs';

const SWITCH_TIMEOUT_MS = 6_000;
// Until the path of a new viewer is known to carry the best.
const BEST_TIMEOUT_MS = 20_000;
// Pictures of a layer that are seen before another one is asked for.
const PICTURES_SEEN = 6;
// Pictures that may be on their way through the decoder when figures are read.
const PICTURES_UNDER_WAY = 3;
// Seconds after which the server asks an encoder again.
const REQUEST_INTERVAL = 0.4;

/**
 * Asks for one layer after the other, each from each other in turn, and waits for its picture.
 *
 * `layers` are `{wish, width}`, the best first: `wish` is for `Viewer.ask`.
 * Resolves to `{switches, seen}`: every switch with `isDown`, the `seconds` until its picture came and
 * how many key frames were `asked` of the publisher for it; and how the viewer's figures grew.
 */
export async function switchAround(viewer, publisher, layers) {
  const sent = await widthsSent(publisher, [layers[0].width]);
  await viewer.ask(layers[0].wish);
  await seePictures(viewer, layers[0].width, BEST_TIMEOUT_MS);
  const before = await viewer.sample();
  const round = ROUNDS[layers.length];
  const switches = [];
  let present = 0;
  for (let count = 0; count < SWITCHES; count += 1) {
    const next = round[count % round.length];
    // An encoder that is short of CPU makes every layer smaller for a quarter of a minute.
    await widthsSent(publisher, sent);
    const asked = await keyFramesAskedOf(publisher);
    await viewer.ask(layers[next].wish);
    const seconds = await switched(viewer, publisher, layers[next].width);
    await seePictures(viewer, layers[next].width);
    switches.push({ isDown: next > present, seconds, asked: await keyFramesAskedOf(publisher) - asked });
    present = next;
  }
  const seen = during([before, await viewer.sample()]);
  tell(switches, seen);
  return { switches, seen };
}

// The seconds until a picture of that width comes; if it does not, with what the publisher sends instead.
async function switched(viewer, publisher, width) {
  try {
    return await viewer.widthIs(`${width} wide`, SWITCH_TIMEOUT_MS, (seen) => seen === width);
  } catch (cause) {
    const sent = outbound(await publisher.stats(), 'video').map(({ rid, frameWidth, framesPerSecond, qualityLimitationDurations }) =>
      `${rid ?? 'one'} ${frameWidth} wide, ${framesPerSecond} a second, ${qualityLimitationDurations?.cpu} s held back by the CPU`);
    throw new Error(`${cause.message}; sent: ${sent.join('; ')}`, { cause });
  }
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

/** One for each of these switches, and another where that took so long that it was asked for again. */
export function assertOneKeyFrameEach(switches) {
  const most = switches.reduce((sum, { seconds }) => sum + 1 + Math.floor(seconds / REQUEST_INTERVAL), 0);
  const asked = keyFramesFor(switches);
  assert.ok(asked <= most, `${asked} key frames asked for in ${switches.length} switches`);
}

/** Whether something was seen that no lack of time of the machine explains. */
export function isLossy({ seen }) {
  return seen.packetsLost > seen.packetsRepeated;
}

// For whatever layer, since it began.
async function keyFramesAskedOf(publisher) {
  return outbound(await publisher.stats(), 'video').reduce((total, { pliCount }) => total + (pliCount ?? 0), 0);
}

function seePictures(viewer, width, timeoutMs = SWITCH_TIMEOUT_MS) {
  let first;
  return until(`${PICTURES_SEEN} pictures ${width} wide`, timeoutMs, async () => {
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
