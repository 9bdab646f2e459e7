// Two tabs call each other through the page.

import assert from 'node:assert/strict';
import { codecOf, inbound } from '../harness/browser.mjs';
import { assertAllWhole, scenario, watch } from '../harness/scenario.mjs';

for (const codec of ['VP8', 'VP9', 'H264', 'AV1']) {
  scenario(`two tabs see and hear each other with ${codec}`, {}, async ({ open }) => {
    const tabs = await callOfTwo(open, { codec });
    await assertAllWhole(tabs);
    const stats = await tabs[0].stats();
    assert.equal(codecOf(stats, inbound(stats, 'video')[0]), codec);
  });
}

scenario('two tabs see and hear each other with the webrtc DTLS engine', { dtls: 'webrtc' }, async ({ open }) => {
  await assertAllWhole(await callOfTwo(open, {}));
});

scenario('packets of a frame leave as one message, padded, and decode cleanly', {}, async ({ open, server }) => {
  await assertAllWhole(await callOfTwo(open, { codec: 'VP8' }));
  const messages = await server.metric('jackfield_send_run_segments_count');
  const datagrams = await server.metric('jackfield_send_run_segments_sum');
  console.log(`${(datagrams / messages).toFixed(2)} packets in a message, of ${messages} messages`);
  // Pictures of 30 a second and sound of 50: alone, every packet would be a message.
  assert.ok(datagrams > 1.1 * messages, `${datagrams} datagrams in ${messages} messages`);
});

for (const media of [{ io: 'uring' }, { io: 'mmsg', gso: 'off' }]) {
  scenario(`two tabs see and hear each other with ${JSON.stringify(media)}`, { media }, async ({ open }) => {
    await assertAllWhole(await callOfTwo(open, {}));
  });
}

scenario('two tabs on different shards see and hear each other', { shards: 2 }, async ({ open }) => {
  const tabs = await callOfTwo(open, {});
  const [first, second] = await Promise.all(tabs.map((tab) => tab.stats()));
  assert.notDeepEqual(first.serverCandidates, second.serverCandidates, 'both sessions sit on one shard');
  await assertAllWhole(tabs);
});

scenario('a camera and a microphone are sent when the browser has them', {}, async ({ open }) => {
  const [sender, receiver] = await callOfTwo(open, {}, { testmedia: '0' });
  const { video } = await watch(receiver, 3_000);
  assert.ok(video.framesDecoded > 40, `only ${video.framesDecoded} frames of the camera decoded`);
  assert.deepEqual(await sender.notices(), []);
});

scenario('three tabs see each other', {}, async ({ open }) => {
  const tabs = [];
  for (const name of ['Ada', 'Grace', 'Hedy']) tabs.push(await open({ name, size: '320x180' }));
  await Promise.all(tabs.map((tab) => tab.inCallWith(2)));
});

scenario('somebody who leaves disappears from the others', {}, async ({ open }) => {
  const [stays, leaves] = await callOfTwo(open, {});
  await leaves.page.click('#leave');
  await stays.page.locator('.tile:not(.own)').waitFor({ state: 'detached', timeout: 8_000 });
  const { state, remotes } = await stays.stats();
  assert.equal(state, 'connected');
  assert.deepEqual(remotes, []);
});

async function callOfTwo(open, fragment, extraOfFirst = {}) {
  const first = await open({ name: 'Ada', ...fragment, ...extraOfFirst });
  const second = await open({ name: 'Grace', ...fragment });
  await Promise.all([first.inCallWith(1), second.inCallWith(1)]);
  // Bandwidth estimation and the jitter buffer settle in the first seconds.
  await watch(first, 3_000);
  return [first, second];
}
