// Sound: RED on its way to those who take it and those who do not, and what the server tells of who speaks.

import assert from 'node:assert/strict';
import { inbound, outbound } from '../harness/browser.mjs';
import { scenario } from '../harness/scenario.mjs';
import { APP, SECRET } from '../harness/server.mjs';
import { until, wait } from '../harness/wait.mjs';

const DOUBLE_MIN = 1.5;
const SAME_MAX = 1.2;

scenario('RED is passed on, and unwrapped for who refuses it', {}, async ({ open }) => {
  const sends = await openWith(open, 'Ada', preferRed);
  const takes = await openWith(open, 'Grace', () => {});
  const refuses = await openWith(open, 'Hedy', refuseRed);
  await Promise.all([sends, takes, refuses].map((tab) => tab.inCallWith(2)));
  await wait(5_000);
  // Chromium's figures name the codec inside of RED, but its packets hold the frame before, too.
  const [sent] = outbound(await sends.stats(), 'audio').map(packetBytes);
  const [plain] = outbound(await takes.stats(), 'audio').map(packetBytes);
  assert.ok(sent > DOUBLE_MIN * plain, `${sent} bytes in a packet of RED, ${plain} in one of Opus`);
  // Of the two that each of them hears, one sends RED.
  const [taken, refused] = [await takes.stats(), await refuses.stats()].map(rangeOfPackets);
  assert.ok(taken > DOUBLE_MIN, `packets ${taken} times as large where RED is taken`);
  assert.ok(refused < SAME_MAX, `packets ${refused} times as large where it is refused`);
  for (const tab of [takes, refuses]) {
    for (const heard of inbound(await tab.stats(), 'audio')) {
      assert.equal(heard.packetsLost, 0, 'audio packets are missing');
      assert.ok(heard.totalAudioEnergy > 1e-4, `audio energy ${heard.totalAudioEnergy}`);
    }
  }
  // Where nothing was lost, what RED has twice is thrown away.
  const discarded = async (tab) => Math.max(...inbound(await tab.stats(), 'audio').map(({ packetsDiscarded }) => packetsDiscarded ?? 0));
  assert.ok(await discarded(takes) > 0, 'nothing came twice');
  assert.equal(await discarded(refuses), 0, 'audio packets were thrown away');
});

scenario('the server tells who speaks, and forwards the loudest only if asked', {}, async ({ open, server }) => {
  const tabs = [];
  for (const name of ['Ada', 'Grace', 'Hedy']) tabs.push(await open({ name, size: '320x180' }));
  await Promise.all(tabs.map((tab) => tab.inCallWith(2)));
  const [listener] = tabs;
  const id = await listener.page.evaluate(() => window.jackfield.stats().then(({ sessionId }) => sessionId));
  const own = await until('the tone to count as speech', 10_000, async () => {
    const { publications } = await call(server, 'GET', `${id}/stats`);
    return publications.find(({ kind, speaking }) => kind === 'audio' && speaking);
  });
  assert.ok(own.audioLevel > 0.01 && own.audioLevel <= 1, `level ${own.audioLevel}`);
  await call(server, 'PUT', `${id}/audio`, { loudestAudio: 1 });
  const heard = await until('one of the two to be left out', 10_000, async () => {
    const { subscriptions } = await call(server, 'GET', `${id}/stats`);
    const audio = subscriptions.filter(({ kind }) => kind === 'audio');
    return audio.some(({ reason }) => reason === 'notLoudest') && audio;
  });
  assert.deepEqual(heard.map(({ rank }) => rank).sort(), [1, 2]);
  assert.deepEqual(heard.map(({ reason }) => reason).sort(), ['best', 'notLoudest']);
  await call(server, 'PUT', `${id}/audio`, { loudestAudio: null });
  const before = await listener.stats();
  await until('both to be heard again', 10_000, async () => {
    const after = inbound(await listener.stats(), 'audio');
    return inbound(before, 'audio').every(({ id: one, packetsReceived }) => (
      after.find(({ id: same }) => same === one).packetsReceived > packetsReceived + 50));
  });
  for (const { packetsLost } of inbound(await listener.stats(), 'audio')) assert.equal(packetsLost, 0);
});

/** A tab whose connection is changed by `patch`, a function of the page, before the call begins. */
async function openWith(open, name, patch) {
  const tab = await open({ name, size: '320x180', autostart: '0' });
  await tab.page.evaluate(patch);
  await tab.page.click('#start');
  return tab;
}

/** Microphones send RED, as `setCodecPreferences` allows it. */
function preferRed() {
  const { addTransceiver } = RTCPeerConnection.prototype;
  RTCPeerConnection.prototype.addTransceiver = function add(track, init) {
    const transceiver = addTransceiver.call(this, track, init);
    if (track.kind === 'audio') {
      const all = RTCRtpSender.getCapabilities('audio').codecs;
      const isRed = ({ mimeType }) => mimeType === 'audio/red';
      transceiver.setCodecPreferences([...all.filter(isRed), ...all.filter((codec) => !isRed(codec))]);
    }
    return transceiver;
  };
}

/** What is offered to this tab is answered without RED, as by a browser that does not know it. */
function refuseRed() {
  const { setRemoteDescription } = RTCPeerConnection.prototype;
  RTCPeerConnection.prototype.setRemoteDescription = function set({ type, sdp }) {
    if (type !== 'offer') return setRemoteDescription.call(this, { type, sdp });
    const number = /^a=rtpmap:(\d+) red\//m.exec(sdp)?.[1];
    const without = number === undefined ? sdp : sdp
      .replace(new RegExp(`^(m=audio .*) ${number}\\b`, 'gm'), '$1')
      .replace(new RegExp(`^a=(rtpmap|fmtp|rtcp-fb):${number} .*\r\n`, 'gm'), '');
    return setRemoteDescription.call(this, { type, sdp: without });
  };
}

/** Bytes of payload in a packet of a stream. */
function packetBytes({ bytesSent, packetsSent, bytesReceived, packetsReceived }) {
  return (bytesSent ?? bytesReceived) / (packetsSent ?? packetsReceived);
}

/** How many times as large the packets of one heard track are as those of the other. */
function rangeOfPackets(stats) {
  const sizes = inbound(stats, 'audio').map(packetBytes);
  return Math.max(...sizes) / Math.min(...sizes);
}

async function call(server, method, path, body) {
  const response = await fetch(`${server.origin}/v1/apps/${APP}/sessions/${path}`, {
    method,
    headers: { authorization: `Bearer ${SECRET}` },
    body: body && JSON.stringify(body),
  });
  const json = await response.json();
  assert.equal(response.status, 200, JSON.stringify(json));
  return json;
}
