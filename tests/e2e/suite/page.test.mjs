// The page itself: what it shows, and what it says when something fails.

import assert from 'node:assert/strict';
import { scenario } from '../harness/scenario.mjs';
import { Tab } from '../harness/browser.mjs';
import { until, wait } from '../harness/wait.mjs';

scenario('the remote picture on the screen is not black, and moves', {}, async ({ open }) => {
  const first = await open({ name: 'Ada' });
  const second = await open({ name: 'Grace' });
  await Promise.all([first.inCallWith(1), second.inCallWith(1)]);
  await wait(1_000);
  const early = await remotePixels(second);
  await wait(700);
  const late = await remotePixels(second);
  assert.ok(early.length > 10_000, 'a picture of some size');
  const { mean, spread } = brightness(early);
  assert.ok(mean > 15, `mean brightness ${mean}`);
  assert.ok(spread > 10, `the picture is flat: ${spread}`);
  const moved = early.filter((value, index) => Math.abs(value - late[index]) > 24).length;
  assert.ok(moved > early.length / 500, `only ${moved} pixels of ${early.length} moved`);
});

scenario('the live figures are filled in', {}, async ({ open }) => {
  const first = await open({ name: 'Ada' });
  const second = await open({ name: 'Grace' });
  await Promise.all([first.inCallWith(1), second.inCallWith(1)]);
  await wait(3_500);
  const figures = await second.page.$$eval('.tile:not(.own) dd', (all) => Object.fromEntries(all.map((one) => [one.dataset.figure, one.textContent])));
  assert.match(figures.bitrate, /^[\d.]+ [Mk]b\/s$/);
  assert.equal(figures.loss, '0.0 %');
  assert.match(figures.roundTrip, /^[\d.]+ ms$/);
  assert.match(figures.size, /^\d+×\d+$/);
  assert.match(figures.frameRate, /^(2[5-9]|3[0-5]) fps$/);
  assert.match(figures.layer, /^VP8/);
  assert.equal(figures.why, 'This is the best that they send.');
});

scenario('the page says which of three sizes is shown, and why not a larger one', {}, async ({ open }) => {
  const publisher = await open({ name: 'Ada', size: '960x540', simulcast: '1', autostart: '0' });
  await publisher.page.evaluate(() => {
    const { addTransceiver } = RTCPeerConnection.prototype;
    RTCPeerConnection.prototype.addTransceiver = function keepSender(...args) {
      const transceiver = addTransceiver.apply(this, args);
      if (transceiver.sender.track?.kind === 'video') window.videoSender = transceiver.sender;
      return transceiver;
    };
  });
  await publisher.page.click('#start');
  const viewer = await open({ name: 'Grace', size: '320x180' });
  await Promise.all([publisher.inCallWith(1), viewer.inCallWith(1)]);
  await shows(viewer, { layer: 'VP8 · a', why: 'This is the best that they send.' });
  await viewer.page.selectOption('.tile:not(.own) .layer select', 'c');
  await shows(viewer, { layer: 'VP8 · c', why: 'You asked for this size.' });
  await viewer.page.selectOption('.tile:not(.own) .layer select', '');
  await shows(viewer, { layer: 'VP8 · a', why: 'This is the best that they send.' });
  // The publisher's encoder stops the largest size, as it does when its own uplink is short.
  await publisher.page.evaluate(() => {
    const parameters = window.videoSender.getParameters();
    parameters.encodings.find(({ rid }) => rid === 'a').active = false;
    return window.videoSender.setParameters(parameters);
  });
  await shows(viewer, { layer: 'VP8 · b', why: 'They do not send a larger size just now.' });
});

scenario('a wrong secret is said in plain words', {}, async ({ open }) => {
  const tab = await open({ secret: 'not-the-secret' });
  await tab.notice(/refused the secret/, 5_000);
  assert.equal(await tab.page.evaluate(() => document.body.dataset.view), 'lobby');
});

scenario('an unknown app is said in plain words', {}, async ({ open }) => {
  const tab = await open({ app: 'ffffffffffffffffffffffffffffffff' });
  await tab.notice(/does not know this app/, 5_000);
});

scenario('a server that is away is said in plain words', {}, async ({ open, server }) => {
  const tab = await open({ autostart: '0' });
  await server.killControlPlane();
  await tab.page.click('#start');
  await tab.notice(/server does not answer/, 8_000);
});

// 192.0.2.1 is nobody's address (RFC 5737): media sent there meets the same silence as at a firewall.
scenario('media that cannot pass is said in plain words, with the address', { mediaIp: '192.0.2.1=127.0.0.1' }, async ({ open }) => {
  const tab = await open();
  await tab.notice(/No media path.*192\.0\.2\.1:\d+\/udp.*firewall/, 20_000);
});

scenario('a refused camera is said, and the test picture is sent instead', {}, async ({ open }) => {
  const watcher = await open();
  // What a browser answers when its person says no.
  const tab = await open({ testmedia: '0', autostart: '0' });
  await tab.page.evaluate(() => {
    navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException('refused', 'NotAllowedError'));
  });
  await tab.page.click('#start');
  await tab.notice(/camera was refused/, 8_000);
  await watcher.inCallWith(1);
});

scenario('the page keeps a strict content security policy and loads nothing from elsewhere', {}, async ({ browser, server }) => {
  const context = await browser.newContext();
  const page = await context.newPage();
  const elsewhere = [];
  page.on('request', (request) => {
    if (!request.url().startsWith(server.origin)) elsewhere.push(request.url());
  });
  const tab = new Tab(page);
  const response = await page.goto(server.origin);
  await page.locator('#form').waitFor();
  const policy = response.headers()['content-security-policy'] ?? '';
  assert.match(policy, /default-src 'none'|default-src 'self'/);
  assert.doesNotMatch(policy, /unsafe-inline|unsafe-eval/);
  assert.deepEqual(elsewhere, []);
  assert.deepEqual(tab.errors, []);
});

scenario('the page fits a phone', {}, async ({ open }) => {
  const phone = { viewport: { width: 390, height: 844 }, isMobile: true, hasTouch: true, colorScheme: 'dark' };
  const first = await open({ name: 'Ada' }, phone);
  const second = await open({ name: 'Grace' });
  await Promise.all([first.inCallWith(1), second.inCallWith(1)]);
  const layout = await first.page.evaluate(() => ({
    overflow: document.documentElement.scrollWidth - document.documentElement.clientWidth,
    small: Array.from(document.querySelectorAll('.controls button'), (one) => one.getBoundingClientRect())
      .filter(({ width, height }) => width > 0 && (width < 44 || height < 44)).length,
  }));
  assert.deepEqual(layout, { overflow: 0, small: 0 });
});

scenario('every control has a name for people who do not see it', {}, async ({ open }) => {
  const first = await open({ name: 'Ada' });
  const second = await open({ name: 'Grace' });
  await Promise.all([first.inCallWith(1), second.inCallWith(1)]);
  const nameless = await first.page.$$eval('button, input, select, a', (all) => all
    .filter((one) => !(one.getAttribute('aria-label') || one.textContent.trim() || one.closest('label')?.textContent.trim()))
    .map((one) => one.outerHTML));
  assert.deepEqual(nameless, []);
});

// Waits until the tile of the one other shows these figures.
function shows(tab, expected) {
  return until(`the figures ${JSON.stringify(expected)}`, 25_000, async () => {
    const figures = await tab.page.$$eval('.tile:not(.own) dd', (all) => Object.fromEntries(all.map((one) => [one.dataset.figure, one.textContent])));
    return Object.entries(expected).every(([figure, text]) => figures[figure] === text);
  });
}

// Brightness of each pixel of the remote video, as it stands on the screen.
async function remotePixels(tab) {
  const picture = await tab.page.locator('.tile:not(.own) video').screenshot({ type: 'png' });
  return tab.page.evaluate(async (base64) => {
    const bytes = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
    const bitmap = await createImageBitmap(new Blob([bytes], { type: 'image/png' }));
    const context = new OffscreenCanvas(bitmap.width, bitmap.height).getContext('2d');
    context.drawImage(bitmap, 0, 0);
    const { data } = context.getImageData(0, 0, bitmap.width, bitmap.height);
    return Array.from({ length: data.length / 4 }, (_, index) => Math.round(
      0.299 * data[4 * index] + 0.587 * data[4 * index + 1] + 0.114 * data[4 * index + 2]));
  }, picture.toString('base64'));
}

function brightness(pixels) {
  const mean = pixels.reduce((sum, value) => sum + value, 0) / pixels.length;
  const variance = pixels.reduce((sum, value) => sum + (value - mean) ** 2, 0) / pixels.length;
  return { mean, spread: Math.sqrt(variance) };
}
