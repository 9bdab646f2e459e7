// The built `jackfield`, as an operator would start it, with everything it leaves behind cleaned up.

import { execFile, spawn } from 'node:child_process';
import dgram from 'node:dgram';
import fs from 'node:fs/promises';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { until, wait } from './wait.mjs';

const BINARY = process.env.E2E_SERVER;
const START_TIMEOUT_MS = 20_000;
const STOP_TIMEOUT_MS = 5_000;
const OUTPUT_MAX = 200_000;

/** The one app of every test. */
export const APP = '0123456789abcdef0123456789abcdef';
export const SECRET = 'only-the-tests-know-this-secret-0123456789';

/** One server: a control plane, the data plane that it started, and a data directory of its own. */
export class Server {
  #arguments;
  #directory;
  #child = null;
  #output = '';

  /**
   * `shards` cores, `dtls` engine; `mediaIp` as `--media-ip` takes it; `tls`: HTTPS, with a certificate of its own;
   * `media`: further settings of the data plane by their names.
   */
  static async start({ shards = 1, dtls = 'dimpl', mediaIp = '127.0.0.1', tls = false, media: settings = {} } = {}) {
    if (!BINARY) throw new Error('E2E_SERVER must name the built server');
    const directory = await fs.mkdtemp(path.join(os.tmpdir(), 'jackfield-e2e-'));
    const http = await freeTcpPort();
    const media = await freeUdpPorts(shards);
    const server = new Server(directory, `${tls ? 'https' : 'http'}://127.0.0.1:${http}`, media, [
      'serve',
      '--http', `127.0.0.1:${http}`,
      '--media-ip', mediaIp,
      '--media-port', String(media),
      '--cores', String(shards),
      '--dtls', dtls,
      '--data-dir', directory,
      '--app', `${APP}:${SECRET}`,
      ...Object.entries(settings).map(([name, value]) => `--${name}=${value}`),
      ...(tls ? await certificateArguments(directory) : []),
    ]);
    try {
      await server.launch();
    } catch (error) {
      await server.stop();
      throw error;
    }
    return server;
  }

  constructor(directory, origin, mediaPort, args) {
    this.#directory = directory;
    this.#arguments = args;
    this.origin = origin;
    /** The UDP port of the first shard. */
    this.mediaPort = mediaPort;
  }

  /** Everything that the server has printed. */
  get output() {
    return this.#output;
  }

  /** Starts the control plane (again). Resolves to the milliseconds until `/readyz` answered 200. */
  async launch() {
    const began = performance.now();
    const child = spawn(BINARY, this.#arguments, { stdio: ['ignore', 'pipe', 'pipe'], env: environment() });
    this.#child = child;
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8');
      stream.on('data', (text) => { this.#output = (this.#output + text).slice(-OUTPUT_MAX); });
    }
    await until('the server to be ready', START_TIMEOUT_MS, async () => {
      if (child.exitCode !== null) throw new Error(`the server ended with ${child.exitCode}:\n${this.#output}`);
      return (await this.status('/readyz')) === 200;
    }, 20);
    return performance.now() - began;
  }

  /** What the processes wrote into files of the data directory. */
  async logs() {
    const names = (await fs.readdir(this.#directory).catch(() => [])).filter((name) => name.endsWith('.log'));
    const texts = await Promise.all(names.map((name) => fs.readFile(path.join(this.#directory, name), 'utf8')));
    return texts.join('\n');
  }

  /** The HTTP status of a path, 0 when nobody answers. */
  async status(where) {
    try {
      const response = await fetch(this.origin + where, { signal: AbortSignal.timeout(2_000) });
      await response.arrayBuffer();
      return response.status;
    } catch {
      return 0;
    }
  }

  /** One call of the sessions/tracks API: `{status, body}`. */
  async api(method, where, body) {
    const response = await fetch(`${this.origin}/v1/apps/${APP}${where}`, {
      method,
      headers: { Authorization: `Bearer ${SECRET}` },
      body: body === undefined ? undefined : JSON.stringify(body),
      signal: AbortSignal.timeout(10_000),
    });
    return { status: response.status, body: await response.json() };
  }

  /** Sums of the Prometheus counters whose name starts with `prefix`. */
  async metric(prefix) {
    const text = await (await fetch(`${this.origin}/metrics`)).text();
    const lines = text.split('\n').filter((line) => line.startsWith(prefix) && !line.startsWith('#'));
    return lines.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' ') + 1)), 0);
  }

  /** Ends the control plane as a crash would, and leaves the data plane alone. */
  async killControlPlane() {
    const ended = exit(this.#child);
    this.#child.kill('SIGKILL');
    await ended;
  }

  /** Ends the data plane as a crash would. Resolves to its process id. */
  async killDataPlane() {
    const [dataPlane] = await this.dataPlanes();
    if (!dataPlane) throw new Error('no data plane runs');
    process.kill(dataPlane, 'SIGKILL');
    return dataPlane;
  }

  /** Process ids of the data planes of this server. */
  async dataPlanes() {
    const ours = await this.#processes();
    return ours.filter(({ command }) => command[1] === 'dataplane').map(({ pid }) => pid);
  }

  /** Ends every process of this server, by id, and removes its data. */
  async stop() {
    if (this.#child && this.#child.exitCode === null && this.#child.signalCode === null) {
      const ended = exit(this.#child);
      this.#child.kill('SIGTERM');
      await Promise.race([ended, wait(STOP_TIMEOUT_MS)]);
    }
    for (const { pid } of await this.#processes()) killIfThere(pid);
    await fs.rm(this.#directory, { recursive: true, force: true, maxRetries: 3 });
  }

  // Processes that name our data directory: nobody else's can, the name is random. A data plane
  // outlives the control plane that started it, so being a child is no way to find it.
  async #processes() {
    const found = [];
    for (const entry of await fs.readdir('/proc')) {
      if (!/^\d+$/.test(entry)) continue;
      const line = await fs.readFile(`/proc/${entry}/cmdline`, 'utf8').catch(() => '');
      if (line.includes(this.#directory)) found.push({ pid: Number(entry), command: line.split('\0') });
    }
    return found;
  }
}

// The server takes `JACKFIELD_*` for settings; those of whoever runs the tests are none of them.
function environment() {
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('JACKFIELD_')));
}

// A certificate that nobody but this test trusts.
async function certificateArguments(directory) {
  const certificate = path.join(directory, 'certificate.pem');
  const key = path.join(directory, 'key.pem');
  await promisify(execFile)('openssl', [
    'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2',
    '-subj', '/CN=127.0.0.1', '-addext', 'subjectAltName=IP:127.0.0.1', '-keyout', key, '-out', certificate,
  ]);
  return ['--tls-cert', certificate, '--tls-key', key];
}

function exit(child) {
  return new Promise((resolve) => child.once('exit', resolve));
}

function killIfThere(pid) {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    if (error.code !== 'ESRCH') throw error;
  }
}

function freeTcpPort() {
  return new Promise((resolve, reject) => {
    const probe = net.createServer().once('error', reject);
    probe.listen(0, '127.0.0.1', () => {
      const { port } = probe.address();
      probe.close(() => resolve(port));
    });
  });
}

// The first of `count` UDP ports in a row, since shards take consecutive ones.
async function freeUdpPorts(count) {
  for (;;) {
    const first = 20_000 + Math.floor(Math.random() * 10_000);
    const free = await Promise.all(Array.from({ length: count }, (_, index) => isUdpPortFree(first + index)));
    if (free.every(Boolean)) return first;
  }
}

function isUdpPortFree(port) {
  return new Promise((resolve) => {
    const probe = dgram.createSocket('udp4').once('error', () => resolve(false));
    probe.bind(port, '127.0.0.1', () => probe.close(() => resolve(true)));
  });
}
