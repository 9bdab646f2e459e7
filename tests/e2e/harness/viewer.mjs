// A tab that only watches one publisher: without the page's call, by a pull of its own.

import { APP, SECRET } from './server.mjs';
import { inbound } from './browser.mjs';
import { MachineWatch } from './machine.mjs';
import { until, wait } from './wait.mjs';

const CONNECT_TIMEOUT_MS = 30_000;
const SAMPLE_MS = 500;
// How much longer things may take where the machine is busy with something else.
const BUSY_FACTOR = 3;

/** One connection that pulls `audio` and `video` of a session, in a tab of its own. */
export class Viewer {
  #tab;

  /** `simulcast` as in the API; without it the server chooses the layer. */
  static async open(open, { sessionId, simulcast }) {
    const tab = await open({ autostart: '0' });
    await tab.page.evaluate(pull, { app: APP, secret: SECRET, sessionId, simulcast });
    const viewer = new Viewer(tab);
    await until('the viewer to see and hear something', CONNECT_TIMEOUT_MS, async () => {
      const stats = await viewer.stats();
      return inbound(stats, 'video')[0]?.framesDecoded > 0 && inbound(stats, 'audio')[0]?.totalSamplesReceived > 0;
    });
    return viewer;
  }

  constructor(tab) {
    this.#tab = tab;
  }

  /** Leaves. */
  close() {
    return this.#tab.page.close();
  }

  /** Changes what is said of the video: `fields` of `tracks/update`, such as `simulcast` or `maxHeight`. */
  ask(fields) {
    return this.#tab.page.evaluate((changed) => window.viewer.update(changed), fields);
  }

  /** `{report}`: the browser's figures, as `Tab.stats` has them. */
  stats() {
    return this.#tab.page.evaluate(() => window.viewer.stats());
  }

  /** A `Sample` every half second for some time. */
  async observe(milliseconds) {
    const samples = [];
    const end = performance.now() + milliseconds;
    while (performance.now() < end) {
      samples.push(await this.sample());
      await wait(SAMPLE_MS);
    }
    return samples;
  }

  /** Waits for a new picture whose width is as `wanted` says; resolves to the seconds that took. */
  async widthIs(what, timeoutMs, wanted) {
    const machine = new MachineWatch();
    const start = performance.now();
    const widths = new Set();
    try {
      const { frames: before } = await this.sample();
      await until(`a picture ${what}`, BUSY_FACTOR * timeoutMs, async () => {
        const { width, frames } = await this.sample();
        const isThere = frames > before && wanted(width);
        if (!isThere) widths.add(width);
        return isThere;
      });
    } catch (cause) {
      throw new Error(`${cause.message}; it was ${[...widths].join(', ')} wide`, { cause });
    } finally {
      machine.end();
    }
    const took = performance.now() - start;
    if (took > timeoutMs && !machine.lacked) {
      throw new Error(`a picture ${what} came after ${Math.round(took)} ms; until then it was ${[...widths].join(', ')} wide`);
    }
    return took / 1000;
  }

  /** What is seen and heard now, at `seconds`: all but `width` counts from the beginning; durations in seconds. */
  async sample() {
    const stats = await this.stats();
    const [video] = inbound(stats, 'video');
    const [audio] = inbound(stats, 'audio');
    return {
      seconds: (video?.timestamp ?? 0) / 1_000,
      width: video?.frameWidth ?? 0,
      frames: video?.framesDecoded ?? 0,
      framesReceived: video?.framesReceived ?? 0,
      framesDropped: video?.framesDropped ?? 0,
      keyFrames: video?.keyFramesDecoded ?? 0,
      keyFramesAsked: video?.pliCount ?? 0,
      packetsLost: video?.packetsLost ?? 0,
      packetsRepeated: video?.retransmittedPacketsReceived ?? 0,
      freezes: video?.freezeCount ?? 0,
      frozen: video?.totalFreezesDuration ?? 0,
      bytes: video?.bytesReceived ?? 0,
      audioPacketsLost: audio?.packetsLost ?? 0,
      audioSamplesConcealed: audio?.concealedSamples ?? 0,
      audioSamples: audio?.totalSamplesReceived ?? 0,
    };
  }
}

/** How much every count of samples grew from the first to the last. */
export function during(samples) {
  const [first, last] = [samples[0], samples.at(-1)];
  return Object.fromEntries(Object.entries(last).map(([key, value]) => [key, value - first[key]]));
}

// Runs in the page.
async function pull({ app, secret, sessionId, simulcast }) {
  const { Api } = await import('/static/api.js');
  const { Call } = await import('/static/call.js');
  const { plainReport } = await import('/static/stats.js');
  const api = new Api({ app, secret });
  const call = await Call.open(api);
  const items = await call.pull([
    { sessionId, trackName: 'audio' },
    { sessionId, trackName: 'video', ...(simulcast && { simulcast }) },
  ]);
  for (const { error } of items) if (error) throw error;
  await call.connected();
  // Only what is played is drawn out of the jitter buffer at its pace.
  const element = document.createElement('video');
  element.autoplay = true;
  element.srcObject = new MediaStream(items.map(({ track }) => track));
  document.body.append(element);
  const update = async (fields) => {
    const video = { location: 'remote', mid: items[1].mid, sessionId, trackName: 'video', ...fields };
    const { tracks: [{ errorDescription }] } = await api.updateTracks(call.sessionId, [video]);
    if (errorDescription) throw new Error(errorDescription);
  };
  window.viewer = { call, update, stats: async () => ({ report: plainReport(await call.report()) }) };
}
