// What the page is told: by the link's fragment first, by what this browser remembers second.
// The fragment never reaches the server's logs, which is why the secret may stand in it.

const STORE_KEY = 'jackfield';

/**
 * Settings of this page.
 *
 * Fragment keys: `app`, `secret`, `room`, `name`; `codec` (VP8, VP9, H264, AV1), `simulcast=0|1`,
 * `scalability=L3T3` (the layers inside of each encoding, by the names of WebRTC-SVC),
 * `testmedia=1` (no camera is asked for), `size=1280x720`, `autostart=1`.
 */
export function readSettings() {
  const fragment = new URLSearchParams(location.hash.slice(1));
  const kept = readStore();
  return {
    app: fragment.get('app') ?? kept.app ?? '',
    secret: fragment.get('secret') ?? kept.secret ?? '',
    room: fragment.get('room') ?? '',
    name: fragment.get('name') ?? kept.name ?? '',
    codec: fragment.get('codec') ?? kept.codec ?? '',
    simulcast: (fragment.get('simulcast') ?? kept.simulcast ?? (MODEST ? '0' : '1')) === '1',
    scalability: fragment.get('scalability') ?? '',
    testMedia: (fragment.get('testmedia') ?? kept.testMedia ?? '0') === '1',
    size: readSize(fragment.get('size')),
    autostart: fragment.get('autostart') === '1',
  };
}

/** Remembers what the next visit to this page should find filled in. */
export function keepSettings(settings) {
  const kept = {
    app: settings.app,
    secret: settings.secret,
    name: settings.name,
    codec: settings.codec,
    simulcast: settings.simulcast ? '1' : '0',
    testMedia: settings.testMedia ? '1' : '0',
  };
  try {
    localStorage.setItem(STORE_KEY, JSON.stringify(kept));
  } catch {
    // Private windows may refuse storage; the fragment still carries everything.
  }
}

/** The link that brings somebody else into the same room. */
export function invitation(settings) {
  const fragment = new URLSearchParams({
    app: settings.app,
    secret: settings.secret,
    room: settings.room,
  });
  return `${location.origin}${location.pathname}#${fragment}`;
}

/** A new room's name: four readable syllables, from the browser's own random source. */
export function newRoomName() {
  const [a, b] = crypto.getRandomValues(new Uint32Array(2));
  const syllable = (number) => CONSONANTS[number % 16] + VOWELS[(number >>> 4) % 4];
  const [first, second, third, fourth] = [a, a >>> 8, b, b >>> 8].map(syllable);
  return `${first}${second}-${third}${fourth}`;
}

/** A random id of 16 hex digits. `crypto.randomUUID` is missing on plain-http pages. */
export function newMemberId() {
  const bytes = crypto.getRandomValues(new Uint8Array(8));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

function readStore() {
  try {
    return JSON.parse(localStorage.getItem(STORE_KEY) ?? '{}') ?? {};
  } catch {
    return {};
  }
}

function readSize(text) {
  const [width, height] = (text ?? '').split('x').map(Number);
  if (width >= 64 && height >= 64) return { width, height };
  return MODEST ? { width: 640, height: 360 } : { width: 1280, height: 720 };
}

// Three encoders at 720p are too much for a machine with two cores and two tabs.
const MODEST = (navigator.hardwareConcurrency ?? 4) < 4;

const CONSONANTS = 'bdfghjklmnprstvz';
const VOWELS = 'aeio';
