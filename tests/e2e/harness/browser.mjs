// Chromium without a window, and tabs with our page in them.

import { chromium } from 'playwright-core';
import { APP, SECRET } from './server.mjs';
import { until } from './wait.mjs';

// Encoders of several tabs share two cores with the server: patience, not a measure of speed.
const JOIN_TIMEOUT_MS = 45_000;
const FLAGS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--use-fake-device-for-media-stream',
  '--use-fake-ui-for-media-stream',
  '--allow-loopback-in-peer-connection',
  '--autoplay-policy=no-user-gesture-required',
];

/** A fresh Chromium with a profile of its own. */
export async function launchBrowser() {
  return chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args: FLAGS });
}

/** One tab, with what its console said. */
export class Tab {
  /** Opens the page of `server` with `fragment` settings (see `settings.js` of the page). */
  static async open(browser, server, fragment = {}, contextOptions = {}) {
    const all = new URLSearchParams({ app: APP, secret: SECRET, testmedia: '1', autostart: '1', size: '640x360', simulcast: '0', ...fragment });
    return Tab.openUrl(browser, `${server.origin}/#${all}`, contextOptions);
  }

  static async openUrl(browser, url, contextOptions = {}) {
    const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, ...contextOptions });
    const tab = new Tab(await context.newPage());
    await tab.page.goto(url);
    return tab;
  }

  constructor(page) {
    this.page = page;
    /** Errors of the page itself: exceptions, crashes, refused resources of the policy. */
    this.errors = [];
    /** Everything on the console. */
    this.console = [];
    page.on('console', (message) => {
      this.console.push(`${message.type()}: ${message.text()}`);
      if (message.type() === 'error' && !/Failed to load resource/.test(message.text())) this.errors.push(message.text());
    });
    page.on('pageerror', (error) => this.errors.push(String(error)));
    page.on('crash', () => this.errors.push('the tab crashed'));
  }

  /** `window.jackfield.stats()` of the page. */
  stats() {
    return this.page.evaluate(() => window.jackfield.stats());
  }

  /** The sentences that the page shows about trouble. */
  notices() {
    return this.page.evaluate(() => window.jackfield.notices());
  }

  /** Waits until a sentence that matches `pattern` is shown. */
  notice(pattern, timeoutMs) {
    return until(`a notice like ${pattern}`, timeoutMs, async () => (await this.notices()).find((text) => pattern.test(text)));
  }

  /** Waits until `count` others are seen and heard; resolves to the stats. */
  async inCallWith(count) {
    return until(`a call with ${count}`, JOIN_TIMEOUT_MS, async () => {
      if (this.errors.length > 0) throw new Error(this.errors.join('\n'));
      const stats = await this.stats();
      const streams = inbound(stats);
      const flowing = streams.length === 2 * count && streams.every(isFlowing);
      return stats.state === 'connected' && flowing && stats;
    });
  }
}

/** Reports of what a tab receives; `kind` narrows them. */
export function inbound({ report }, kind) {
  return report.filter((entry) => entry.type === 'inbound-rtp' && (!kind || entry.kind === kind));
}

/** Reports of what a tab sends; `kind` narrows them. */
export function outbound({ report }, kind) {
  return report.filter((entry) => entry.type === 'outbound-rtp' && (!kind || entry.kind === kind));
}

/** The name of the codec of a report entry, as in `VP8`. */
export function codecOf({ report }, { codecId }) {
  return report.find(({ id }) => id === codecId)?.mimeType.split('/')[1];
}

function isFlowing(entry) {
  return entry.kind === 'video' ? entry.framesDecoded > 0 : entry.totalSamplesReceived > 0;
}
