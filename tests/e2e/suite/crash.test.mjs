// Either plane is killed in the middle of a call.

import assert from 'node:assert/strict';
import { inbound } from '../harness/browser.mjs';
import { assertWhole, scenario, watch } from '../harness/scenario.mjs';
import { until, wait } from '../harness/wait.mjs';

const ATTACH_MAX_MS = 1_000;
const NOTICE_MAX_MS = 1_000;

scenario('not one packet is missing when the control plane is killed, and the next one goes on', {}, async ({ open, server }) => {
  const [first, second] = await callOfTwo(open);
  const { sessionId } = await first.stats();
  const answerBefore = await server.api('GET', `/sessions/${sessionId}`);
  const [dataPlane] = await server.dataPlanes();

  const watching = Promise.all([watch(first, 6_000), watch(second, 6_000)]);
  await wait(1_500);
  await server.killControlPlane();
  for (const seen of await watching) assertWhole(seen, 150);

  const attachedMs = await server.launch();
  assert.ok(attachedMs < ATTACH_MAX_MS, `attached after ${Math.round(attachedMs)} ms`);
  assert.deepEqual(await server.dataPlanes(), [dataPlane], 'another data plane was started');
  assert.deepEqual(await server.api('GET', `/sessions/${sessionId}`), answerBefore);

  // A newcomer's tracks are pulled in the sessions that are older than this control plane.
  await open({ name: 'Hedy', size: '320x180' });
  const after = await first.inCallWith(2);
  assert.equal(after.sessionId, sessionId, 'the page made another session');
  await second.inCallWith(2);
});

scenario('the page says that the control plane is away, and that the call goes on', {}, async ({ open, server }) => {
  const [first] = await callOfTwo(open);
  await server.killControlPlane();
  await first.notice(/does not answer.*go on without it/, 6_000);
  await server.launch();
  await until('the notice to go away', 6_000, async () => (await first.notices()).length === 0);
});

scenario('a killed data plane is noticed within a second, restarted, and the page calls again', {}, async ({ open, server }) => {
  const [first, second] = await callOfTwo(open);
  const { sessionId } = await first.stats();
  const killed = await server.killDataPlane();
  const noticed = performance.now();
  await until('the old session to answer 410', 5_000, async () => (await server.api('GET', `/sessions/${sessionId}`)).status === 410, 20);
  const noticedMs = performance.now() - noticed;
  assert.ok(noticedMs < NOTICE_MAX_MS, `noticed after ${Math.round(noticedMs)} ms`);
  await first.notice(/session is gone.*Calling again/, 6_000);
  const [restarted] = await until('another data plane', 5_000, async () => {
    const running = await server.dataPlanes();
    return running.length > 0 && running;
  });
  assert.notEqual(restarted, killed);
  for (const tab of [first, second]) {
    const stats = await until('a call over a new session', 20_000, async () => {
      const now = await tab.stats();
      const video = inbound(now, 'video');
      return now.state === 'connected' && video.length === 1 && video[0].framesDecoded > 30 && now;
    });
    assert.notEqual(stats.sessionId, sessionId);
  }
});

async function callOfTwo(open) {
  // Small pictures: what is looked at is the planes, and a third tab comes later.
  const tabs = [await open({ name: 'Ada', size: '320x180' }), await open({ name: 'Grace', size: '320x180' })];
  await Promise.all(tabs.map((tab) => tab.inCallWith(1)));
  await wait(3_000);
  return tabs;
}
