// The page: the lobby's form, the tiles, the bar of buttons, and words for whatever goes wrong.

import { Api } from './api.js';
import { sendableCodecs } from './call.js';
import { openMedia } from './media.js';
import { Meeting } from './meeting.js';
import { explain, explainStandIn } from './reasons.js';
import { invitation, keepSettings, newMemberId, newRoomName, readSettings } from './settings.js';
import { Tile } from './tile.js';

const FIGURES_MS = 1_000;

const byId = (id) => document.getElementById(id);
const settings = readSettings();
const member = newMemberId();
const tiles = new Map();
let meeting = null;
let media = null;
let figuresTimer = 0;

function start() {
  fillForm();
  byId('form').addEventListener('submit', (event) => {
    event.preventDefault();
    readForm();
    join();
  });
  byId('copy').addEventListener('click', (event) => copyLink(event.currentTarget));
  byId('copy-bar').addEventListener('click', (event) => copyLink(event.currentTarget));
  byId('second').addEventListener('click', openSecondTab);
  byId('second-bar').addEventListener('click', openSecondTab);
  byId('microphone').addEventListener('click', (event) => toggle('audio', event.currentTarget));
  byId('camera').addEventListener('click', (event) => toggle('video', event.currentTarget));
  byId('leave').addEventListener('click', leave);
  addEventListener('pagehide', () => meeting?.leave());
  document.addEventListener('visibilitychange', () => meeting?.look(!document.hidden));
  window.jackfield = {
    settings,
    stats: async () => (meeting ? meeting.stats() : { state: 'idle', remotes: [], report: [] }),
    prefer: (id, rid) => meeting.prefer(id, rid),
    notices: () => Array.from(document.querySelectorAll('.notice'), (one) => one.textContent),
  };
  if (settings.autostart && settings.app && settings.secret) join();
}

async function join() {
  clearNotices();
  settings.room ||= newRoomName();
  keepSettings(settings);
  history.replaceState(null, '', fragmentWithRoom());
  byId('start').disabled = true;
  status('connecting', 'Connecting');
  try {
    media = await openMedia(settings);
    showStandIn();
    meeting = new Meeting(new Api(settings), settings, member);
    listen(meeting);
    meeting.look(!document.hidden);
    await meeting.join(media.stream);
    enterStage();
  } catch (error) {
    leave();
    status('failed', 'Not connected');
    notice('failure', { ...explain(error, settings), kind: 'bad' });
  } finally {
    byId('start').disabled = false;
  }
}

function listen(current) {
  current.addEventListener('members', () => drawRemotes());
  current.addEventListener('state', ({ detail }) => {
    if (detail !== 'connected') return;
    status('connected', 'In call');
    clearNotices('failure');
  });
  current.addEventListener('lost', ({ detail }) => {
    status('connecting', 'Calling again');
    const { title, advice } = explain(detail, settings);
    notice('failure', { title, advice: `${advice} Calling again.`, kind: 'bad' });
  });
  current.addEventListener('trouble', ({ detail }) => {
    const { title } = explain(detail, settings);
    notice('trouble', { title, advice: 'Picture and sound go on without it. Trying again.', kind: 'warn' });
  });
  current.addEventListener('recovered', () => clearNotices('trouble'));
}

function leave() {
  meeting?.leave();
  meeting = null;
  media?.stop();
  media = null;
  clearInterval(figuresTimer);
  for (const tile of tiles.values()) tile.remove();
  tiles.clear();
  document.body.dataset.view = 'lobby';
  status('idle', 'Ready');
  clearNotices('trouble');
  clearNotices('stand-in');
  clearNotices('sound');
}

function enterStage() {
  document.body.dataset.view = 'stage';
  byId('room-name').textContent = settings.room;
  byId('link').value = invitation(settings);
  const own = new Tile({ name: settings.name, own: true, mirrored: media.standIn === null });
  own.wait('');
  own.play(media.stream);
  tiles.set(member, own);
  byId('grid').prepend(own.element);
  for (const id of ['microphone', 'camera']) byId(id).setAttribute('aria-pressed', 'false');
  drawRemotes();
  clearInterval(figuresTimer);
  figuresTimer = setInterval(drawFigures, FIGURES_MS);
}

function drawRemotes() {
  const remotes = meeting?.remotes ?? new Map();
  byId('invite').hidden = remotes.size > 0;
  byId('grid').dataset.count = String(remotes.size + 1);
  for (const [id, tile] of tiles) {
    if (id === member || remotes.has(id)) continue;
    tile.remove();
    tiles.delete(id);
  }
  for (const remote of remotes.values()) drawRemote(remote);
}

async function drawRemote(remote) {
  let tile = tiles.get(remote.id);
  if (!tile) {
    tile = new Tile({ name: remote.name, onLayer: (rid) => chooseLayer(remote.id, rid) });
    tiles.set(remote.id, tile);
    byId('grid').insertBefore(tile.element, byId('invite'));
  }
  tile.showLayers(remote.tracks.some(({ rids }) => rids === undefined || rids.length > 0));
  tile.waitFor(remote);
  if (!await tile.play(remote.stream)) askForClick();
}

async function chooseLayer(id, rid) {
  try {
    await meeting.prefer(id, rid);
    clearNotices('layer');
  } catch (error) {
    const { title, advice } = explain(error, settings);
    notice('layer', { title, advice, kind: 'warn' });
  }
}

async function drawFigures() {
  const figures = await meeting?.figures();
  if (!figures) return;
  const { roundTripMs, inbound, outbound } = figures;
  const sent = outbound.filter(({ kind }) => kind === 'video');
  const active = sent.filter(({ bitrate }) => bitrate > 0);
  const best = active.concat(sent).reduce((one, other) => ((other?.width ?? 0) > (one?.width ?? 0) ? other : one), undefined);
  tiles.get(member)?.show({
    video: best && { ...best, bitrate: sent.reduce((total, { bitrate }) => total + (bitrate ?? 0), 0) },
    audio: outbound.find(({ kind }) => kind === 'audio'),
    roundTripMs,
    layer: active.map(({ rid }) => rid).filter(Boolean).sort().join(' '),
  });
  for (const remote of meeting.remotes.values()) {
    const figure = (kind) => inbound.get(remote.tracks.find((track) => track.kind === kind)?.mid);
    const layered = remote.tracks.some(({ rids }) => rids?.length > 0);
    const { subscription, estimate } = meeting.measured(remote);
    tiles.get(remote.id)?.show({
      video: figure('video'),
      audio: figure('audio'),
      roundTripMs,
      layer: layered ? subscription?.currentLayer?.rid ?? (remote.rid || 'auto') : '',
    });
    tiles.get(remote.id)?.explain({ subscription, estimate });
  }
}

function showStandIn() {
  const text = explainStandIn(media.standIn);
  if (text) notice('stand-in', { title: text, advice: '', kind: 'info' });
}

function askForClick() {
  notice('sound', { title: 'The browser waits for a click before it plays sound.', advice: '', kind: 'info', action: {
    label: 'Play',
    run: () => {
      clearNotices('sound');
      for (const remote of meeting.remotes.values()) tiles.get(remote.id)?.play(remote.stream);
    },
  } });
}

function toggle(kind, button) {
  const off = button.getAttribute('aria-pressed') !== 'true';
  button.setAttribute('aria-pressed', String(off));
  for (const track of media?.stream.getTracks() ?? []) {
    if (track.kind === kind) track.enabled = !off;
  }
}

async function copyLink(button) {
  const link = invitation(settings);
  const label = button.querySelector('.label');
  const before = label.textContent;
  try {
    await navigator.clipboard.writeText(link);
    label.textContent = 'Copied';
  } catch {
    // Plain-http pages have no clipboard: mark the text, so that a key press copies it.
    byId('invite').hidden = false;
    byId('link').select();
    label.textContent = 'Press Ctrl+C';
  }
  setTimeout(() => { label.textContent = before; }, 1_600);
}

function openSecondTab() {
  const extra = new URLSearchParams({ autostart: '1' });
  if (settings.testMedia) extra.set('testmedia', '1');
  window.open(`${invitation(settings)}&${extra}`, '_blank', 'noopener');
}

function fillForm() {
  byId('name').value = settings.name;
  byId('room').value = settings.room;
  byId('app').value = settings.app;
  byId('secret').value = settings.secret;
  byId('source').value = settings.testMedia ? 'test' : 'camera';
  byId('simulcast').checked = settings.simulcast;
  for (const codec of sendableCodecs()) byId('codec').add(new Option(codec, codec));
  byId('codec').value = settings.codec;
  if (byId('codec').selectedIndex < 0) byId('codec').value = '';
  byId('access').open = !settings.app || !settings.secret;
  byId('start').querySelector('.label').textContent = settings.room ? 'Join the call' : 'Start a call';
  document.body.dataset.view = 'lobby';
}

function readForm() {
  settings.name = byId('name').value.trim();
  settings.room = byId('room').value.trim();
  settings.app = byId('app').value.trim();
  settings.secret = byId('secret').value.trim();
  settings.codec = byId('codec').value;
  settings.simulcast = byId('simulcast').checked;
  settings.testMedia = byId('source').value === 'test';
}

function fragmentWithRoom() {
  const fragment = new URLSearchParams(location.hash.slice(1));
  fragment.set('app', settings.app);
  fragment.set('secret', settings.secret);
  fragment.set('room', settings.room);
  return `#${fragment}`;
}

function status(state, text) {
  byId('status').dataset.state = state;
  byId('status-text').textContent = text;
}

function notice(key, { title, advice, kind, action }) {
  clearNotices(key);
  const element = document.createElement('div');
  element.className = `notice ${kind}`;
  element.dataset.key = key;
  const heading = document.createElement('strong');
  heading.textContent = title;
  element.append(heading);
  if (advice) element.append(Object.assign(document.createElement('p'), { textContent: advice }));
  if (action) {
    const button = Object.assign(document.createElement('button'), { type: 'button', textContent: action.label });
    button.addEventListener('click', action.run);
    element.append(button);
  }
  byId('notices').append(element);
}

function clearNotices(key) {
  for (const element of document.querySelectorAll('.notice')) {
    if (!key || element.dataset.key === key) element.remove();
  }
}

start();
