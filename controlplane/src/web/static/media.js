// What we send: camera and microphone, or a moving test picture and a tone.

const FRAME_RATE = 30;
// The next tick has been sent by then.
const TICK_LATE_MS = 1.5 * (1000 / FRAME_RATE);
const TONE_HZ = 330;
const TONE_GAIN = 0.05;

/** Why the test picture stands in for a camera. The values are keys of `reasons.js`. */
export const StandIn = Object.freeze({
  WANTED: 'wanted',
  INSECURE: 'insecure',
  REFUSED: 'refused',
  MISSING: 'missing',
  BUSY: 'busy',
});

/**
 * Opens what will be sent.
 *
 * Resolves to `{stream, standIn, stop}`; `standIn` is `null` when camera or microphone are real.
 */
export async function openMedia({ testMedia, size }) {
  if (testMedia) return testSource(size, StandIn.WANTED);
  if (!navigator.mediaDevices) return testSource(size, StandIn.INSECURE);
  try {
    const stream = await openDevices(size);
    return withMissingKinds(stream, size);
  } catch (error) {
    return testSource(size, reasonOf(error));
  }
}

async function openDevices({ width, height }) {
  const video = {
    width: { ideal: width }, height: { ideal: height }, frameRate: { ideal: FRAME_RATE },
  };
  const audio = { echoCancellation: true, noiseSuppression: true, autoGainControl: true };
  try {
    return await navigator.mediaDevices.getUserMedia({ video, audio });
  } catch (error) {
    if (error.name !== 'NotFoundError') throw error;
    // One of the two is missing: take the other one.
    return navigator.mediaDevices.getUserMedia({ audio })
      .catch(() => navigator.mediaDevices.getUserMedia({ video }));
  }
}

async function withMissingKinds(stream, size) {
  const hasVideo = stream.getVideoTracks().length > 0;
  const hasAudio = stream.getAudioTracks().length > 0;
  if (hasVideo && hasAudio) return { stream, standIn: null, stop: () => stopTracks(stream) };
  const test = await testSource(size, StandIn.MISSING);
  for (const track of test.stream.getTracks()) {
    if (track.kind === 'video' ? hasVideo : hasAudio) track.stop();
    else stream.addTrack(track);
  }
  const stop = () => { test.stop(); stopTracks(stream); };
  return { stream, standIn: hasVideo ? null : StandIn.MISSING, stop };
}

function reasonOf(error) {
  if (error.name === 'NotAllowedError' || error.name === 'SecurityError') return StandIn.REFUSED;
  if (error.name === 'NotReadableError' || error.name === 'AbortError') return StandIn.BUSY;
  return StandIn.MISSING;
}

async function testSource(size, standIn) {
  const picture = testPicture(size);
  const tone = testTone();
  const stream = new MediaStream([picture.track, ...tone.tracks]);
  return { stream, standIn, stop: () => { picture.stop(); tone.stop(); stopTracks(stream); } };
}

function stopTracks(stream) {
  for (const track of stream.getTracks()) track.stop();
}

// The picture: drawn at a worker's pace, so that it moves on while the tab is hidden.
function testPicture({ width, height }) {
  const canvas = document.createElement('canvas');
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext('2d', { alpha: false, desynchronized: true });
  const sink = frameSink(canvas);
  const scene = testScene(width, height);
  const ticker = new Worker(new URL('./ticker.js', import.meta.url), { type: 'module' });
  const started = performance.now();
  const draw = () => {
    const elapsed = performance.now() - started;
    scene(context, elapsed / 1000);
    sink.push(elapsed);
  };
  draw();
  ticker.addEventListener('message', ({ data: sentAt }) => {
    // Where the machine is too busy to draw them all, ticks would pile up, and the page do nothing else.
    if (performance.timeOrigin + performance.now() - sentAt < TICK_LATE_MS) draw();
  });
  ticker.postMessage({ intervalMs: 1000 / FRAME_RATE });
  sink.track.contentHint = 'motion';
  return { track: sink.track, stop: () => { ticker.terminate(); sink.close(); } };
}

// Chromium takes frames one by one and stamps them as told; other browsers capture the canvas.
function frameSink(canvas) {
  if (typeof MediaStreamTrackGenerator === 'undefined') {
    const [track] = canvas.captureStream(FRAME_RATE).getVideoTracks();
    return { track, push: () => {}, close: () => {} };
  }
  const track = new MediaStreamTrackGenerator({ kind: 'video' });
  const writer = track.writable.getWriter();
  const push = (elapsedMs) => {
    const frame = new VideoFrame(canvas, { timestamp: Math.round(elapsedMs * 1000) });
    writer.write(frame).catch(() => frame.close());
  };
  return { track, push, close: () => writer.close().catch(() => {}) };
}

// A patch panel: rows of jacks, cords that swing between them, and a clock that shows delay.
function testScene(width, height) {
  const unit = height / 18;
  const columns = 12;
  const jack = (column, row) => [
    width * (0.08 + 0.84 * column / (columns - 1)), height * (row === 0 ? 0.26 : 0.7),
  ];
  const background = document.createElement('canvas');
  background.width = width;
  background.height = height;
  drawPanel(background.getContext('2d'), { width, height, unit, columns, jack });
  return (context, seconds) => {
    context.drawImage(background, 0, 0);
    CORDS.forEach((cord, index) => drawCord(context, { cord, index, seconds, jack, unit }));
    drawPulse(context, { width, height, unit, seconds });
    drawClock(context, { width, height, unit, seconds });
  };
}

function drawPanel(context, { width, height, unit, columns, jack }) {
  const wash = context.createLinearGradient(0, 0, width, height);
  wash.addColorStop(0, '#26303b');
  wash.addColorStop(1, '#151a21');
  context.fillStyle = wash;
  context.fillRect(0, 0, width, height);
  for (const row of [0, 1]) {
    for (let column = 0; column < columns; column += 1) {
      const [x, y] = jack(column, row);
      disc(context, x, y, unit * 0.72, '#3c4856');
      disc(context, x, y, unit * 0.5, '#0d1014');
    }
  }
}

function drawCord(context, { cord, index, seconds, jack, unit }) {
  const [x1, y1] = jack(cord.from, 0);
  const [x2, y2] = jack(cord.to, 1);
  const swing = Math.sin(seconds * 1.3 + index * 1.7) * unit * 2.2;
  context.lineWidth = unit * 0.42;
  context.lineCap = 'round';
  context.strokeStyle = cord.colour;
  context.beginPath();
  context.moveTo(x1, y1);
  context.bezierCurveTo(x1 + swing, y1 + unit * 6, x2 + swing, y2 - unit * 2, x2, y2);
  context.stroke();
  disc(context, x1, y1, unit * 0.4, cord.colour);
  disc(context, x2, y2, unit * 0.4, cord.colour);
}

// A light that crosses the picture: a frozen frame is seen at once.
function drawPulse(context, { width, height, unit, seconds }) {
  const x = width * (0.5 + 0.44 * Math.sin(seconds * 1.9));
  const y = height * 0.48 + Math.cos(seconds * 2.6) * unit * 3;
  disc(context, x, y, unit * 0.9, '#ffd27a55');
  disc(context, x, y, unit * 0.5, '#ffe2a8');
}

function drawClock(context, { width, height, unit, seconds }) {
  const now = new Date();
  const clock = now.toTimeString().slice(0, 8) + '.' + String(now.getMilliseconds()).padStart(3, '0');
  context.font = `600 ${unit * 1.5}px ui-monospace, monospace`;
  context.textBaseline = 'alphabetic';
  context.fillStyle = '#f3eee4';
  context.textAlign = 'right';
  context.fillText(clock, width * 0.95, height * 0.93);
  context.fillStyle = '#e8a33d';
  context.fillRect(0, height - unit * 0.3, width * ((seconds / 4) % 1), unit * 0.3);
}

function disc(context, x, y, radius, colour) {
  context.fillStyle = colour;
  context.beginPath();
  context.arc(x, y, radius, 0, Math.PI * 2);
  context.fill();
}

// A soft tone that swells, so that ears and level meters can tell it from a hum.
function testTone() {
  const context = new AudioContext();
  const oscillator = new OscillatorNode(context, { frequency: TONE_HZ });
  const level = new GainNode(context, { gain: TONE_GAIN });
  const swell = new OscillatorNode(context, { frequency: 0.5 });
  const depth = new GainNode(context, { gain: TONE_GAIN * 0.8 });
  const output = new MediaStreamAudioDestinationNode(context);
  oscillator.connect(level).connect(output);
  swell.connect(depth).connect(level.gain);
  oscillator.start();
  swell.start();
  // Without a click first the browser keeps the context suspended: wake it with the next one.
  const wake = () => context.resume();
  if (context.state !== 'running') addEventListener('pointerdown', wake, { once: true });
  return { tracks: output.stream.getAudioTracks(), stop: () => context.close() };
}

const CORDS = [
  { from: 0, to: 2, colour: '#e8a33d' },
  { from: 3, to: 1, colour: '#4fb3a5' },
  { from: 5, to: 7, colour: '#d9665b' },
  { from: 8, to: 6, colour: '#7c9ff0' },
  { from: 10, to: 11, colour: '#c98bd9' },
];
