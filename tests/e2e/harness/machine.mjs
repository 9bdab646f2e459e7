// Whether the machine left the browsers and the server the time that a call takes.

import fs from 'node:fs';

const PULSE_MS = 20;
// A picture freezes, as Chromium counts, when it stands for about as long.
const GAP_MAX_MS = 150;
const IDLE_SHARE_MIN = 0.1;
const STOLEN_SHARE_MAX = 0.05;

/** From its making to `end`, one stretch of time. */
export class MachineWatch {
  /** What was lacking until the end, in words; undefined if nothing was. */
  lacked;

  #before = processorTimes();
  #beat = performance.now();
  #gap = 0;
  #timer = setInterval(() => this.#pulse(), PULSE_MS);

  /** Ends it, and returns what was lacking. */
  end() {
    clearInterval(this.#timer);
    this.#pulse();
    this.lacked = this.#lack();
    return this.lacked;
  }

  #lack() {
    const after = processorTimes();
    const share = (key) => (after[key] - this.#before[key]) / Math.max(1, after.total - this.#before.total);
    if (share('idle') < IDLE_SHARE_MIN) return `only ${percent(share('idle'))} of its time was idle`;
    if (share('stolen') > STOLEN_SHARE_MAX) return `its host took ${percent(share('stolen'))} of its time`;
    if (this.#gap > GAP_MAX_MS) return `it stood still for ${Math.round(this.#gap)} ms`;
    return undefined;
  }

  #pulse() {
    const now = performance.now();
    this.#gap = Math.max(this.#gap, now - this.#beat - PULSE_MS);
    this.#beat = now;
  }
}

// Of all processors, in ticks (proc_stat(5)): `os.cpus` leaves out what the host takes.
function processorTimes() {
  const [line] = fs.readFileSync('/proc/stat', 'utf8').split('\n');
  const [user, nice, system, idle, waiting, hard, soft, stolen] = line.split(/\s+/).slice(1).map(Number);
  return { idle: idle + waiting, stolen, total: user + nice + system + idle + waiting + hard + soft + stolen };
}

function percent(share) {
  return `${(100 * share).toFixed(1)} %`;
}
