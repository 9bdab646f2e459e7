// The proxy `impair` between tabs and a server: narrow, slow and lossy, with links of its own for each tab.

import { spawn } from 'node:child_process';
import path from 'node:path';
import readline from 'node:readline';

const BINARY = process.env.E2E_IMPAIR ?? path.join(path.dirname(process.env.E2E_SERVER ?? ''), 'impair');
const PROXY_IP = '127.0.0.2';
const SERVER_IP = '127.0.0.1';

/** `--media-ip` of a server whose clients are to send to the proxy. */
export const MEDIA_IP = `${PROXY_IP}=${SERVER_IP}`;

/** A link of so many kb/s to the tab. Both ways take 25 ms; what is too much waits for 300 ms at most. */
export function link(rate_kbps) {
  return { up: { delay_ms: 25 }, down: { delay_ms: 25, rate_kbps: Math.round(rate_kbps), queue_ms: 300 } };
}

/** One running proxy. A profile is what `impair --help` says; without one nothing is impaired. */
export class Impairment {
  #child;
  #answers;

  /** Starts one for the server whose media port this is. */
  static async start(mediaPort) {
    const child = spawn(BINARY, [`${PROXY_IP}:${mediaPort}`, `${SERVER_IP}:${mediaPort}`], { stdio: ['pipe', 'pipe', 'inherit'] });
    const impairment = new Impairment(child);
    try {
      await impairment.#answer();
    } catch (error) {
      throw new Error(`${BINARY} does not run (it is built with the tests)`, { cause: error });
    }
    return impairment;
  }

  constructor(child) {
    this.#child = child;
    // What it says is read from its standard output; a failed start ends that.
    child.on('error', () => child.stdout.destroy());
    child.stdin.on('error', () => {});
    this.#answers = readline.createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  }

  /** From now on all links, of tabs to come as well, are like this: `{up, down}`. */
  impairAll(profiles) {
    return this.#command({ profile: { client: '*', ...profiles } });
  }

  /** From now on the links of `tab`, which is connected, are like this: `{up, down}`. */
  async impair(tab, profiles) {
    for (const port of await mediaPorts(tab)) {
      await this.#command({ profile: { client: String(port), ...profiles } });
    }
  }

  /** `{up, down}`: what became of the datagrams of `tab` so far. */
  async statistics(tab) {
    const { statistics: { clients, unsent } } = await this.#command('statistics');
    if (unsent > 0) throw new Error(`the proxy could not send ${unsent} datagrams`);
    const ports = await mediaPorts(tab);
    const links = clients.filter(({ client }) => ports.includes(Number(client.split(':').at(-1))));
    return { up: total(links.map(({ up }) => up)), down: total(links.map(({ down }) => down)) };
  }

  /** Ends it. */
  async stop() {
    if (this.#child.exitCode !== null || this.#child.pid === undefined) return;
    const ended = new Promise((resolve) => { this.#child.once('exit', resolve); });
    this.#child.stdin.end();
    await ended;
  }

  async #command(command) {
    this.#child.stdin.write(`${JSON.stringify(command)}\n`);
    const answer = await this.#answer();
    if (answer.refused) throw new Error(`the proxy refused ${JSON.stringify(command)}: ${answer.refused}`);
    return answer;
  }

  async #answer() {
    const { value, done } = await this.#answers.next();
    if (done) throw new Error('the proxy has ended');
    return JSON.parse(value);
  }
}

// The UDP ports from which a tab may send its media. There is one for each of its addresses, and
// when the queue of one swallows checks, ICE goes over to another.
async function mediaPorts(tab) {
  const { report } = await tab.stats();
  const ports = report.filter(({ type, protocol }) => type === 'local-candidate' && protocol === 'udp').map(({ port }) => port);
  if (ports.length === 0) throw new Error('the tab is not connected');
  return [...new Set(ports)];
}

function total(links) {
  const names = Object.keys(links[0] ?? {});
  return Object.fromEntries(names.map((name) => [name, links.reduce((sum, link) => sum + link[name], 0)]));
}
