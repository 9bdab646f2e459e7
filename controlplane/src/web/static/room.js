// The meeting point: who is in this room, and which tracks each of them sends.

const ANNOUNCE_MS = 3_000;
const POLL_MS = 1_000;

/**
 * Membership in one room.
 *
 * Events: `members` (detail: `{members, settled}`, everybody but us, and whether those who are not
 * named have gone: not so soon after the server was restarted), `trouble` (detail: the error of a failed poll),
 * `recovered` (polls are answered again).
 */
export class Room extends EventTarget {
  #api;
  #room;
  #member;
  #presence = null;
  #timers = [];
  #troubled = false;
  #polling = false;

  constructor(api, room, member) {
    super();
    this.#api = api;
    this.#room = room;
    this.#member = member;
  }

  /** Enters with `{sessionId, tracks, name}`, or changes what the others see. */
  async enter(presence) {
    this.#presence = presence;
    await this.#api.announce(this.#room, this.#member, presence);
    if (this.#timers.length > 0) return;
    this.#timers = [
      setInterval(() => this.#announce(), ANNOUNCE_MS),
      setInterval(() => this.#poll(), POLL_MS),
    ];
    this.#poll();
  }

  /** Leaves. Safe while the page is closing. */
  leave() {
    this.#timers.forEach(clearInterval);
    this.#timers = [];
    if (!this.#presence) return;
    this.#presence = null;
    this.#api.withdraw(this.#room, this.#member).catch(() => {
      // The entry runs out by itself.
    });
  }

  async #announce() {
    await this.#api.announce(this.#room, this.#member, this.#presence).catch(() => {
      // The next poll reports it.
    });
  }

  async #poll() {
    if (this.#polling) return;
    this.#polling = true;
    try {
      const { members, settled } = await this.#api.members(this.#room);
      if (this.#timers.length === 0) return;
      if (this.#troubled) this.dispatchEvent(new CustomEvent('recovered'));
      this.#troubled = false;
      const others = members.filter((one) => memberId(one) !== this.#member && one.sessionId);
      this.dispatchEvent(new CustomEvent('members', { detail: { members: others, settled } }));
    } catch (error) {
      this.#troubled = true;
      if (this.#timers.length > 0) this.dispatchEvent(new CustomEvent('trouble', { detail: error }));
    } finally {
      this.#polling = false;
    }
  }
}

/** The id of an entry of the members list. */
export function memberId(entry) {
  return entry.member ?? entry.id;
}
