// One session: one RTCPeerConnection that both sends our tracks and receives those of others.

import { ApiFailure } from './api.js';

const CONNECT_TIMEOUT_MS = 12_000;
const DISCONNECTED_GRACE_MS = 2_000;
const RESTART_TIMEOUT_MS = 8_000;
const ANSWER_RETRY_MS = 500;
const ANSWER_ATTEMPTS_MAX = 8;

/** Layers of a simulcast publication, smallest first, as browsers ramp them up. `a` is the best. */
export const LAYERS = [
  { rid: 'c', label: 'Low', scaleResolutionDownBy: 4, maxBitrate: 150_000 },
  { rid: 'b', label: 'Medium', scaleResolutionDownBy: 2, maxBitrate: 500_000 },
  { rid: 'a', label: 'High', scaleResolutionDownBy: 1, maxBitrate: 1_700_000 },
];

/** No packet passes between the browser and the media server. */
export class NoMediaPath extends Error {
  constructor(candidates) {
    super('no media path');
    this.name = 'NoMediaPath';
    this.candidates = candidates;
  }
}

/**
 * One session with the server.
 *
 * Events: `state` (detail: the connection's state), `lost` (detail: the error; the session cannot
 * be saved, start another). Every operation waits for the one before it: a session has one
 * offer/answer machine.
 */
export class Call extends EventTarget {
  #api;
  #peer;
  #tail = Promise.resolve();
  #restartTimer = 0;
  #closed = false;

  /** Makes a session and the connection for it. */
  static async open(api) {
    return new Call(api, await api.createSession());
  }

  constructor(api, sessionId) {
    super();
    this.#api = api;
    this.sessionId = sessionId;
    this.#peer = new RTCPeerConnection({ bundlePolicy: 'max-bundle' });
    this.#peer.addEventListener('connectionstatechange', () => this.#stateChanged());
  }

  get state() {
    return this.#peer.connectionState;
  }

  /** Whether no offer waits for its answer on our side. */
  get stable() {
    return this.#peer.signalingState === 'stable';
  }

  /** The browser's own figures. */
  report() {
    return this.#peer.getStats();
  }

  /**
   * Pushes the tracks of `stream`. `scalability` is a `scalabilityMode` for every encoding of the
   * picture, if it is not left to the browser.
   *
   * Resolves to `[{trackName, kind, rids}]` once the server has taken them.
   */
  publish(stream, { codec = '', simulcast = false, scalability = '' } = {}) {
    return this.#inTurn(async () => {
      const sent = stream.getTracks().map((track) => this.#addSender(track, stream, { codec, simulcast, scalability }));
      await this.#peer.setLocalDescription(await this.#peer.createOffer());
      const answer = await this.#api.addTracks(this.sessionId, {
        sessionDescription: describe(this.#peer.localDescription),
        tracks: sent.map(({ transceiver, trackName }) => ({
          location: 'local', mid: transceiver.mid, trackName,
        })),
      });
      throwItemFailure(answer.tracks);
      await this.#peer.setRemoteDescription(answer.sessionDescription);
      await Promise.all(sent.map(({ transceiver }) => preferFrameRate(transceiver.sender)));
      return sent.map(({ trackName, kind, rids }) => ({ trackName, kind, rids }));
    });
  }

  /**
   * Pulls tracks, `[{sessionId, trackName, simulcast?}]`.
   *
   * Resolves to one item each, in order: `{mid, track}` or `{error}`.
   */
  pull(wanted) {
    return this.#inTurn(async () => {
      const answer = await this.#api.addTracks(this.sessionId, {
        tracks: wanted.map((track) => ({ location: 'remote', ...track })),
      });
      if (answer.sessionDescription) await this.#answerOffer(answer.sessionDescription);
      return wanted.map((track, index) => this.#pulled(track, answer.tracks?.[index]));
    });
  }

  /** Asks for another layer of a pulled track. `rid` empty: the best one that there is. */
  prefer({ mid, sessionId, trackName }, rid) {
    const track = { location: 'remote', mid, sessionId, trackName, simulcast: layerWish(rid) };
    return this.#inTurn(async () => {
      throwItemFailure((await this.#api.updateTracks(this.sessionId, [track])).tracks);
    });
  }

  /** Ends pulled tracks by mid. */
  drop(mids) {
    return this.#inTurn(async () => {
      for (const transceiver of this.#peer.getTransceivers()) {
        if (mids.includes(transceiver.mid)) transceiver.stop();
      }
      await this.#peer.setLocalDescription(await this.#peer.createOffer());
      const answer = await this.#api.closeTracks(this.sessionId, {
        tracks: mids.map((mid) => ({ mid })),
        force: false,
        sessionDescription: describe(this.#peer.localDescription),
      });
      await this.#peer.setRemoteDescription(answer.sessionDescription);
    });
  }

  /** Puts another track in the place of one that is sent, without renegotiation. */
  replace(kind, track) {
    const sender = this.#peer.getSenders().find((one) => one.track?.kind === kind);
    return sender?.replaceTrack(track);
  }

  /** Resolves when media can pass; rejects with `NoMediaPath` when it cannot. */
  connected(timeoutMs = CONNECT_TIMEOUT_MS) {
    if (this.state === 'connected') return Promise.resolve();
    return new Promise((resolve, reject) => {
      const done = (settle, value) => {
        clearTimeout(timer);
        this.removeEventListener('state', check);
        settle(value);
      };
      const fail = () => done(reject, new NoMediaPath(this.serverCandidates()));
      const timer = setTimeout(fail, timeoutMs);
      const check = () => {
        if (this.state === 'connected') done(resolve);
        else if (this.state === 'failed' || this.state === 'closed') fail();
      };
      this.addEventListener('state', check);
    });
  }

  /** `ip:port` of every address that the server offered. */
  serverCandidates() {
    const sdp = this.#peer.remoteDescription?.sdp ?? '';
    const found = sdp.matchAll(/^a=candidate:\S+ \d+ (\S+) \d+ (\S+) (\d+)/gm);
    return [...new Set(Array.from(found, ([, protocol, ip, port]) => `${ip}:${port}/${protocol.toLowerCase()}`))];
  }

  /** New ICE credentials on both sides, same session, same keys (RFC 8445 §2.4). */
  restartIce() {
    return this.#inTurn(async () => {
      this.#peer.restartIce();
      await this.#peer.setLocalDescription(await this.#peer.createOffer({ iceRestart: true }));
      const answer = await this.#api.renegotiate(this.sessionId, describe(this.#peer.localDescription));
      await this.#peer.setRemoteDescription(answer.sessionDescription);
    });
  }

  /** Ends the session here and at the server. */
  close() {
    if (this.#closed) return;
    this.#closed = true;
    clearTimeout(this.#restartTimer);
    this.#peer.close();
    this.#api.deleteSession(this.sessionId).catch(() => {
      // The server lets sessions without a peer go by itself.
    });
  }

  #addSender(track, stream, { codec, simulcast, scalability }) {
    const layered = simulcast && track.kind === 'video';
    const init = { direction: 'sendonly', streams: [stream] };
    if (layered) init.sendEncodings = encodings(codec, scalability);
    else if (scalability && track.kind === 'video') init.sendEncodings = [{ scalabilityMode: scalability }];
    const transceiver = this.#peer.addTransceiver(track, init);
    if (track.kind === 'video' && codec) preferCodec(transceiver, codec);
    return {
      transceiver,
      kind: track.kind,
      rids: layered ? LAYERS.map(({ rid }) => rid) : [],
      trackName: track.kind,
    };
  }

  async #answerOffer(offer) {
    await this.#peer.setRemoteDescription(offer);
    await this.#peer.setLocalDescription(await this.#peer.createAnswer());
    const answer = describe(this.#peer.localDescription);
    for (let attempt = 1; ; attempt += 1) {
      try {
        await this.#api.renegotiate(this.sessionId, answer);
        return;
      } catch (error) {
        // The offer stays open while the control plane is being replaced: try the same answer again.
        // A 406 on a repeated answer says that the first one did arrive.
        if (attempt > 1 && error.status === 406) return;
        if (error.status !== 0 || attempt === ANSWER_ATTEMPTS_MAX) throw error;
        await new Promise((resolve) => setTimeout(resolve, ANSWER_RETRY_MS));
      }
    }
  }

  #pulled(wanted, item) {
    if (!item || item.errorCode || !item.mid) {
      return { wanted, error: new ApiFailure(200, item?.errorCode ?? '', item?.errorDescription ?? '') };
    }
    const transceiver = this.#peer.getTransceivers().find((one) => one.mid === item.mid);
    return { wanted, mid: item.mid, track: transceiver?.receiver.track };
  }

  #stateChanged() {
    this.dispatchEvent(new CustomEvent('state', { detail: this.state }));
    clearTimeout(this.#restartTimer);
    if (this.#closed) return;
    if (this.state === 'disconnected') {
      this.#restartTimer = setTimeout(() => this.#recover(), DISCONNECTED_GRACE_MS);
    } else if (this.state === 'failed') {
      this.#recover();
    }
  }

  async #recover() {
    try {
      await this.restartIce();
      await this.connected(RESTART_TIMEOUT_MS);
    } catch (error) {
      if (!this.#closed) this.dispatchEvent(new CustomEvent('lost', { detail: error }));
    }
  }

  #inTurn(work) {
    const turn = this.#tail.then(work);
    this.#tail = turn.catch(() => {});
    return turn;
  }
}

/** What `simulcast` says in a pull or an update. Empty rid: best layer, with every fallback. */
export function layerWish(rid) {
  return {
    preferredRid: rid || 'a',
    priorityOrdering: rid ? 'none' : 'asciibetical',
    ridNotAvailable: 'asciibetical',
  };
}

/** Video codecs that this browser can send, in the order in which the page lists them. */
export function sendableCodecs() {
  const capable = RTCRtpSender.getCapabilities('video')?.codecs ?? [];
  const names = new Set(capable.map(({ mimeType }) => mimeType.split('/')[1].toUpperCase()));
  return ['VP8', 'VP9', 'H264', 'AV1'].filter((name) => names.has(name));
}

// Without a scalability mode Chromium would put VP9 and AV1 layers into one stream (SVC).
function encodings(codec, scalability) {
  const scalabilityMode = scalability || (['VP9', 'AV1'].includes(codec) ? 'L1T1' : undefined);
  return LAYERS.map(({ label, ...encoding }) => ({ ...encoding, ...(scalabilityMode && { scalabilityMode }) }));
}

function preferCodec(transceiver, name) {
  const all = RTCRtpReceiver.getCapabilities('video')?.codecs ?? [];
  const isCodec = ({ mimeType }) => mimeType.toLowerCase() === `video/${name.toLowerCase()}`;
  const isRepair = ({ mimeType }) => /\/(rtx|red|ulpfec)$/i.test(mimeType);
  const chosen = all.filter(isCodec);
  if (chosen.length > 0) transceiver.setCodecPreferences([...chosen, ...all.filter(isRepair)]);
}

async function preferFrameRate(sender) {
  if (sender.track?.kind !== 'video') return;
  const parameters = sender.getParameters();
  parameters.degradationPreference = 'maintain-framerate';
  // A browser without this preference is no reason to end a call.
  await sender.setParameters(parameters).catch(() => {});
}

function throwItemFailure(items = []) {
  const failed = items.find((item) => item.errorCode);
  if (failed) throw new ApiFailure(200, failed.errorCode, failed.errorDescription);
}

function describe({ type, sdp }) {
  return { type, sdp };
}
