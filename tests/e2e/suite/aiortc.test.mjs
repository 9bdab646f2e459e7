// aiortc from PyPI pushes and pulls.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { scenario } from '../harness/scenario.mjs';
import { APP, SECRET } from '../harness/server.mjs';

const run = promisify(execFile);
const CLIENT = new URL('../clients/aiortc_client.py', import.meta.url).pathname;
const TIMEOUT_MS = 60_000;

for (const dtls of ['dimpl', 'webrtc']) {
  scenario(`aiortc pushes and pulls with the ${dtls} DTLS engine`, { dtls }, async ({ server }) => {
    const { stdout } = await run(
      process.env.E2E_PYTHON ?? 'python3',
      [CLIENT, `${server.origin}/v1/apps/${APP}`, SECRET],
      { timeout: TIMEOUT_MS },
    );
    const { video, audio } = JSON.parse(stdout);
    assert.ok(video.frames >= 90 && video.brightest > 100, stdout);
    assert.ok(audio.frames >= 150 && audio.brightest > 2_000, stdout);
  });
}
