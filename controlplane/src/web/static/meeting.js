// A meeting: our session, the room, and everybody else's tracks. No DOM in here.

import { Call, layerWish } from './call.js';
import { Room, memberId } from './room.js';
import { Figures, plainReport } from './stats.js';
import { Watch } from './watch.js';

const SESSION_CHECK_MS = 2_000;
const PULL_RETRY_MS = 1_000;
const REJOIN_DELAYS_MS = [250, 500, 1_000, 2_000, 4_000];

/**
 * Keeps us in a room, over new sessions if it must.
 *
 * Events: `state` (`connecting`, `connected`, `reconnecting`, `left`), `members` (the remotes
 * changed), `lost` (detail: why the session ended; another one is being made), `trouble` (detail:
 * the error; the control plane does not answer, media goes on), `recovered`.
 */
export class Meeting extends EventTarget {
  #api;
  #settings;
  #room;
  #call = null;
  #figures = new Figures();
  #watch;
  #newest = { members: [], settled: false };
  #syncing = null;
  #checkTimer = 0;
  #troubles = new Set();

  constructor(api, settings, member) {
    super();
    this.#api = api;
    this.#settings = settings;
    this.#watch = new Watch(api);
    this.member = member;
    this.state = 'idle';
    /** What we receive: member id -> `{id, name, sessionId, tracks, stream, error, rid}`. */
    this.remotes = new Map();
    this.#room = new Room(api, settings.room, member);
    this.#room.addEventListener('members', ({ detail }) => this.#membersChanged(detail));
    this.#room.addEventListener('trouble', ({ detail }) => this.#trouble('room', detail));
    this.#room.addEventListener('recovered', () => this.#recovered('room'));
  }

  get call() {
    return this.#call;
  }

  /** Starts to send `stream` and enters the room. Rejects with the reason when it cannot. */
  async join(stream) {
    this.stream = stream;
    this.#setState('connecting');
    await this.#connect();
  }

  /** Leaves the room and ends the session. */
  leave() {
    this.#setState('left');
    clearInterval(this.#checkTimer);
    this.#room.leave();
    this.#watch.follow(null);
    this.#call?.close();
    this.remotes.clear();
  }

  /** Asks for a layer of everything that `id` sends as simulcast. Empty rid: automatic. */
  async prefer(id, rid) {
    const remote = this.remotes.get(id);
    const video = remote?.tracks.find(({ kind, mid }) => kind === 'video' && mid);
    if (!video) return;
    await this.#call.prefer({ mid: video.mid, sessionId: remote.sessionId, trackName: video.trackName }, rid);
    remote.rid = rid;
  }

  /** Whether somebody looks at the figures; see `Watch`. */
  look(looking) {
    this.#watch.look(looking);
  }

  /** What the server measures of a remote's video: `{subscription, estimate}`, each may be `null`. */
  measured(remote) {
    const video = remote.tracks.find(({ kind, mid }) => kind === 'video' && mid);
    return {
      subscription: video ? this.#watch.subscription(video.mid) : null,
      estimate: this.#watch.newest?.estimate?.bitrate ?? null,
    };
  }

  /** Figures for the tiles: see `Figures.read`. */
  async figures() {
    return this.#call ? this.#figures.read(await this.#call.report()) : null;
  }

  /** The whole state as plain data, for tests and for curious people at the console. */
  async stats() {
    const report = this.#call ? plainReport(await this.#call.report()) : [];
    return {
      state: this.state,
      member: this.member,
      sessionId: this.#call?.sessionId ?? null,
      connection: this.#call?.state ?? 'closed',
      serverCandidates: this.#call?.serverCandidates() ?? [],
      remotes: Array.from(this.remotes.values(), ({ stream, ...plain }) => plain),
      report,
    };
  }

  async #connect() {
    const call = await Call.open(this.#api);
    this.#call = call;
    this.#figures = new Figures();
    call.addEventListener('lost', ({ detail }) => this.#lost(call, detail));
    try {
      const { codec, simulcast, scalability, name } = this.#settings;
      const tracks = await call.publish(this.stream, { codec, simulcast, scalability });
      await call.connected();
      if (this.state === 'left') return;
      await this.#room.enter({ sessionId: call.sessionId, tracks, name });
    } catch (error) {
      call.close();
      throw error;
    }
    clearInterval(this.#checkTimer);
    this.#checkTimer = setInterval(() => this.#check(call), SESSION_CHECK_MS);
    this.#watch.follow(call.sessionId);
    this.#setState('connected');
  }

  // Notices a session that is gone earlier than ICE would.
  async #check(call) {
    try {
      await this.#api.session(call.sessionId);
      this.#recovered('session');
    } catch (error) {
      if (error.status === 410) this.#lost(call, error);
      else this.#trouble('session', error);
    }
  }

  async #lost(call, reason) {
    if (call !== this.#call || this.state === 'left' || this.state === 'reconnecting') return;
    this.#setState('reconnecting');
    this.dispatchEvent(new CustomEvent('lost', { detail: reason }));
    clearInterval(this.#checkTimer);
    this.#watch.follow(null);
    call.close();
    this.remotes.clear();
    this.dispatchEvent(new CustomEvent('members'));
    for (let attempt = 0; this.state === 'reconnecting'; attempt += 1) {
      const delay = REJOIN_DELAYS_MS[Math.min(attempt, REJOIN_DELAYS_MS.length - 1)];
      await new Promise((resolve) => setTimeout(resolve, delay));
      if (this.state !== 'reconnecting') return;
      try {
        await this.#connect();
      } catch (error) {
        this.dispatchEvent(new CustomEvent('lost', { detail: error }));
      }
    }
  }

  #membersChanged(list) {
    this.#newest = list;
    if (this.#syncing !== this.#call) this.#sync();
  }

  // Brings what we receive in line with the newest list, one change at a time. The work belongs to
  // one call: what waits for a connection that has been closed never ends, and must hold up nobody.
  async #sync() {
    const call = this.#call;
    this.#syncing = call;
    try {
      while (this.state === 'connected' && call === this.#call) {
        const list = this.#newest;
        const changed = await this.#dropGone(list) || await this.#pullMissing(list.members);
        if (!changed && list === this.#newest) break;
      }
      this.#recovered('sync');
    } catch (error) {
      // Once both sides disagree about the negotiation, only a new session helps.
      if ([406, 410].includes(error.status) || !call.stable) this.#lost(call, error);
      else if (call === this.#call) this.#trouble('sync', error);
    } finally {
      if (this.#syncing === call) this.#syncing = null;
    }
  }

  async #dropGone({ members, settled }) {
    const sessions = new Map(members.map((one) => [memberId(one), one.sessionId]));
    const isGone = ({ id, sessionId }) => (sessions.has(id) ? sessions.get(id) !== sessionId : settled);
    const gone = Array.from(this.remotes.values()).filter(isGone);
    if (gone.length === 0) return false;
    for (const { id } of gone) this.remotes.delete(id);
    this.dispatchEvent(new CustomEvent('members'));
    const mids = gone.flatMap(({ tracks }) => tracks.map(({ mid }) => mid)).filter(Boolean);
    if (mids.length > 0) await this.#call.drop(mids);
    return true;
  }

  async #pullMissing(members) {
    const now = performance.now();
    const wanted = members.flatMap((member) => this.#missingTracks(member, now));
    if (wanted.length === 0) return false;
    this.dispatchEvent(new CustomEvent('members'));
    const items = await this.#call.pull(wanted.map(({ remote, track }) => ({
      sessionId: remote.sessionId,
      trackName: track.trackName,
      ...(track.rids?.length > 0 && { simulcast: layerWish(remote.rid) }),
    })));
    wanted.forEach(({ remote, track }, index) => take(remote, track, items[index], now));
    this.dispatchEvent(new CustomEvent('members'));
    return items.some(({ error }) => !error);
  }

  #missingTracks(member, now) {
    const id = memberId(member);
    let remote = this.remotes.get(id);
    if (!remote) {
      remote = {
        id,
        name: member.name ?? '',
        sessionId: member.sessionId,
        tracks: (member.tracks ?? []).map((track) => ({ ...track, retryAt: 0 })),
        stream: new MediaStream(),
        error: null,
        rid: '',
      };
      this.remotes.set(id, remote);
    }
    const missing = remote.tracks.filter(({ mid, retryAt }) => !mid && retryAt <= now);
    return missing.map((track) => ({ remote, track }));
  }

  // Poll, session check and pulls fail independently: trouble ends when all of them work.
  #trouble(source, error) {
    if (this.state !== 'connected') return;
    this.#troubles.add(source);
    this.dispatchEvent(new CustomEvent('trouble', { detail: error }));
  }

  #recovered(source) {
    if (this.#troubles.delete(source) && this.#troubles.size === 0) {
      this.dispatchEvent(new CustomEvent('recovered'));
    }
  }

  #setState(state) {
    this.state = state;
    this.dispatchEvent(new CustomEvent('state', { detail: state }));
  }
}

function take(remote, track, item, now) {
  if (item.error || !item.track) {
    track.retryAt = now + PULL_RETRY_MS;
    remote.error = item.error ?? null;
    return;
  }
  track.mid = item.mid;
  remote.error = null;
  remote.stream.addTrack(item.track);
}
