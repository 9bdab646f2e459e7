// A client of the sessions/tracks API, and of the page's own meeting point.

import { serverSentEvents } from './events.js';

const CALL_TIMEOUT_MS = 15_000;

/**
 * An answer that is not a success, or no answer at all.
 *
 * `status` is the HTTP status, 0 when no answer came. `code` is the API's `errorCode`.
 */
export class ApiFailure extends Error {
  constructor(status, code, description) {
    super(description || code || `HTTP ${status}`);
    this.name = 'ApiFailure';
    this.status = status;
    this.code = code;
  }
}

/** Speaks the API with one app's secret. */
export class Api {
  #app;
  #secret;
  #base;

  constructor({ app, secret, base = '' }) {
    this.#app = app;
    this.#secret = secret;
    this.#base = base;
  }

  /** Makes a session; resolves to its id. */
  async createSession() {
    return (await this.#calls('POST', '/sessions/new')).sessionId;
  }

  /** What the session holds now. A session that is gone rejects with status 410. */
  session(id) {
    return this.#calls('GET', `/sessions/${id}`);
  }

  /** Pushes or pulls tracks (`tracks/new`). */
  addTracks(id, body) {
    return this.#calls('POST', `/sessions/${id}/tracks/new`, body);
  }

  /** Hands over an answer to the server's offer, or an offer that restarts ICE. */
  renegotiate(id, sessionDescription) {
    return this.#calls('PUT', `/sessions/${id}/renegotiate`, { sessionDescription });
  }

  /** Changes the wanted layer or the source of pulled tracks, without SDP. */
  updateTracks(id, tracks) {
    return this.#calls('PUT', `/sessions/${id}/tracks/update`, { tracks });
  }

  /** Ends tracks by mid, with the client's offer that says the same. */
  closeTracks(id, body) {
    return this.#calls('PUT', `/sessions/${id}/tracks/close`, body);
  }

  /** Ends a session. `keepalive` lets it leave while the page is closing. */
  deleteSession(id) {
    return this.#calls('DELETE', `/sessions/${id}`, undefined, { keepalive: true });
  }

  /** Yields what the server measures of a session, once a second until the session ends. */
  async* statistics(id, signal) {
    const response = await this.#fetch(`${this.#base}/v1/apps/${this.#app}/sessions/${id}/stats/events`, { signal });
    if (!response.ok) await answerOf(response);
    for await (const { type, data } of serverSentEvents(response.body)) {
      if (type === 'stats') yield JSON.parse(data);
    }
  }

  /** Everybody in a room, ourselves included: `{members, settled}`, see `Room`. */
  members(room) {
    return this.#demo('GET', `/rooms/${encodeURIComponent(room)}`);
  }

  /** Says (again) that we are in the room. */
  announce(room, member, presence) {
    return this.#demo('PUT', memberPath(room, member), presence);
  }

  /** Takes us out of the room. */
  withdraw(room, member) {
    return this.#demo('DELETE', memberPath(room, member), undefined, { keepalive: true });
  }

  #calls(method, path, body, options) {
    return this.#request(method, `${this.#base}/v1/apps/${this.#app}${path}`, body, options);
  }

  #demo(method, path, body, options) {
    return this.#request(method, `${this.#base}/demo/apps/${this.#app}${path}`, body, options);
  }

  async #request(method, url, body, { keepalive = false } = {}) {
    const options = { method, keepalive, signal: AbortSignal.timeout(CALL_TIMEOUT_MS) };
    if (body !== undefined) options.body = JSON.stringify(body);
    return answerOf(await this.#fetch(url, options));
  }

  async #fetch(url, options) {
    const headers = { Authorization: `Bearer ${this.#secret}` };
    if (options.body !== undefined) headers['Content-Type'] = 'application/json';
    try {
      return await fetch(url, { ...options, headers, cache: 'no-store' });
    } catch (error) {
      throw new ApiFailure(0, 'no_answer', error.message);
    }
  }
}

async function answerOf(response) {
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) {
    throw new ApiFailure(response.status, answer.errorCode ?? '', answer.errorDescription ?? '');
  }
  return answer;
}

function memberPath(room, member) {
  return `/rooms/${encodeURIComponent(room)}/members/${encodeURIComponent(member)}`;
}
