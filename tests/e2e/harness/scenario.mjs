// A test with a server and a browser that are always ended, and told about when it fails.

import assert from 'node:assert/strict';
import test from 'node:test';
import { inbound, launchBrowser, Tab } from './browser.mjs';
import { SWITCHES, WINDOW_MS } from './extent.mjs';
import { Impairment, MEDIA_IP } from './impairment.mjs';
import { MachineWatch } from './machine.mjs';
import { Server } from './server.mjs';
import { wait } from './wait.mjs';

const WATCH_MS = 10_000;
const WINDOWS_MAX = 4;
// Two seconds for a switch where the machine is busy.
const BODY_TIMEOUT_MS = 120_000 + WINDOWS_MAX * WINDOW_MS + 2_000 * SWITCHES;
// Beyond the body's own limit, so that the clean-up always gets its turn.
const TEST_TIMEOUT_MS = BODY_TIMEOUT_MS + 30_000;
/** "More than 250 frames in 10 s at 30 fps". */
export const FRAMES_MIN = 250;

/**
 * One behaviour, shown on a server of its own.
 *
 * `body` gets `{server, browser, open}`; `open(fragment)` opens a tab of the page. Page errors fail
 * the scenario even if `body` did not look at them.
 */
export function scenario(name, serverOptions, body) {
  test(name, { timeout: TEST_TIMEOUT_MS }, () => play(serverOptions, body));
}

/** The same with `{impairment}`, through which all media of the (one) shard goes. */
export function impairedScenario(name, serverOptions, body) {
  test(name, { timeout: TEST_TIMEOUT_MS }, () => play({ ...serverOptions, mediaIp: MEDIA_IP }, async (stage) => {
    const impairment = await Impairment.start(stage.server.mediaPort);
    try {
      await body({ ...stage, impairment });
    } finally {
      await impairment.stop();
    }
  }));
}

async function play(serverOptions, body) {
  const tabs = [];
  let server;
  let browser;
  try {
    server = await Server.start(serverOptions);
    browser = await launchBrowser();
    const open = async (fragment, contextOptions) => {
      const tab = await Tab.open(browser, server, { room: 'test', ...fragment }, contextOptions);
      tabs.push(tab);
      return tab;
    };
    await within(BODY_TIMEOUT_MS, body({ server, browser, open }));
    for (const tab of tabs) assert.deepEqual(tab.errors, [], 'errors on the page');
  } catch (error) {
    await tell(server, tabs);
    throw error;
  } finally {
    await browser?.close();
    await server?.stop();
  }
}

/** Watches what `tab` receives from one other for 10 s; resolves to what changed meanwhile. */
export async function watch(tab, milliseconds = WATCH_MS) {
  const before = await tab.stats();
  await wait(milliseconds);
  const after = await tab.stats();
  return { before, after, video: change(before, after, 'video'), audio: change(before, after, 'audio') };
}

/** All of `tabs` receive a whole call for 10 s. Packets that are lost fail it on any machine. */
export function assertAllWhole(tabs) {
  const isLossy = (seen) => seen.some(({ video, audio }) => video.packetsLost + audio.packetsLost > 0);
  return assertWatched(tabs, (one) => assertWhole(one), isLossy);
}

/** What each of `tabs` receives in 10 s passes `check`; see `assertObserved`. */
export function assertWatched(tabs, check, isFinal) {
  const observe = () => Promise.all(tabs.map((tab) => watch(tab)));
  return assertObserved(observe, (seen) => seen.forEach((one) => check(one)), isFinal);
}

/**
 * What `observe` resolves to passes `check`.
 *
 * Encoders and decoders share the machine with the server. A window in which something else left
 * them no time shows nothing about the server, so it is watched again, a few times at most, unless
 * `isFinal` says of what was seen that no lack of time explains it.
 */
export async function assertObserved(observe, check, isFinal = () => false) {
  for (let attempt = 1; ; attempt += 1) {
    const machine = new MachineWatch();
    let seen;
    try {
      seen = await observe();
      check(seen);
      return;
    } catch (error) {
      const lacked = machine.end();
      if (!lacked || (seen && isFinal(seen)) || attempt === WINDOWS_MAX) throw error;
      console.log(`watched again, since the machine was busy with something else (${lacked}): ${error.message}`);
    } finally {
      machine.end();
    }
  }
}

/** A watched call was whole: pictures at 30 fps without a freeze, and sound. */
export function assertWhole({ video, audio }, framesMin = FRAMES_MIN) {
  assert.ok(video.framesDecoded > framesMin, `only ${video.framesDecoded} frames decoded`);
  assert.equal(video.freezeCount, 0, 'the picture froze');
  assert.equal(video.packetsLost, 0, 'video packets are missing');
  assert.equal(video.packetsDiscarded ?? 0, 0, 'video packets were thrown away');
  assert.equal(audio.packetsLost, 0, 'audio packets are missing');
  assert.ok(audio.packetsReceived > framesMin, `only ${audio.packetsReceived} audio packets`);
  // The test tone is never silent; comfort noise would add almost no energy.
  assert.ok(audio.totalAudioEnergy > 1e-4, `audio energy ${audio.totalAudioEnergy}`);
}

/** Differences of every counter of the one stream of this kind. */
export function change(before, after, kind) {
  const [last, ...more] = inbound(after, kind);
  assert.ok(last, `no ${kind} is received`);
  assert.equal(more.length, 0, `more than one ${kind} is received`);
  const first = inbound(before, kind).find(({ id }) => id === last.id);
  assert.ok(first, `the ${kind} stream was replaced meanwhile`);
  const counters = Object.entries(last).filter(([, value]) => typeof value === 'number');
  return Object.fromEntries(counters.map(([key, value]) => [key, value - (first[key] ?? 0)]));
}

async function within(milliseconds, work) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not done within ${milliseconds} ms`)), milliseconds);
  });
  try {
    await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}

async function tell(server, tabs) {
  if (server) console.log(`---- the server said\n${server.output.slice(-6_000)}\n${(await server.logs()).slice(-6_000)}`);
  tabs.forEach(({ console: lines }, index) => {
    console.log(`---- tab ${index} said\n${lines.slice(-40).join('\n')}`);
  });
}
