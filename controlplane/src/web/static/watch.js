// What the server measures of our session, kept up to date while somebody looks.

const RETRY_MS = 2_000;

/** The newest statistics of one session. */
export class Watch {
  #api;
  #sessionId = null;
  #looking = false;
  #abort = null;

  constructor(api) {
    this.#api = api;
    /** As the API tells them, or `null`. */
    this.newest = null;
  }

  /** Which session; `null` for none. */
  follow(sessionId) {
    this.#sessionId = sessionId;
    this.newest = null;
    this.#restart();
  }

  /** Whether somebody looks. A browser has few connections to one server: no hidden page keeps one. */
  look(looking) {
    if (looking === this.#looking) return;
    this.#looking = looking;
    this.#restart();
  }

  /** The figures of what comes in the media section `mid`. */
  subscription(mid) {
    return this.newest?.subscriptions.find((one) => one.mid === mid) ?? null;
  }

  #restart() {
    this.#abort?.abort();
    this.#abort = null;
    if (!this.#sessionId || !this.#looking) return;
    this.#abort = new AbortController();
    this.#run(this.#sessionId, this.#abort.signal);
  }

  async #run(sessionId, signal) {
    while (!signal.aborted) {
      try {
        for await (const statistics of this.#api.statistics(sessionId, signal)) {
          if (!signal.aborted) this.newest = statistics;
        }
      } catch (error) {
        // The meeting notices by itself that a session is gone.
        if (error.status === 410) return;
      }
      if (signal.aborted) return;
      this.newest = null;
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    }
  }
}
