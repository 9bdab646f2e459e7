// One person's picture, with the live figures beneath it.

import { LAYERS } from './call.js';
import { explainLayer, explainTrack } from './reasons.js';
import { formatBitrate, formatNumber, formatSize } from './stats.js';

const SPARK_POINTS = 60;
const SPARK_WIDTH = 120;
const SPARK_HEIGHT = 28;

/** A tile made from the page's `#tile` template. */
export class Tile {
  #video;
  #values = new Map();
  #history = [];
  #silent;
  #waitsForClick = false;
  #layer;

  /** `onLayer(rid)` is called when a person chooses a layer; without it there is no choice. */
  constructor({ name, own = false, mirrored = false, onLayer = null }) {
    const template = document.getElementById('tile');
    // Not `cloneNode`: a template belongs to a document in which no video plays.
    this.element = document.importNode(template.content.firstElementChild, true);
    this.#video = this.element.querySelector('video');
    // One's own sound would come back as an echo.
    this.#silent = own;
    this.element.classList.toggle('own', own);
    this.element.classList.toggle('mirrored', mirrored);
    const shown = name || (own ? 'You' : 'Guest');
    this.element.setAttribute('aria-label', own ? `${shown} (you)` : shown);
    this.element.querySelector('.name').textContent = shown;
    this.element.querySelector('.you').hidden = !own || !name;
    for (const value of this.element.querySelectorAll('dd')) this.#values.set(value.dataset.figure, value);
    this.#layer = this.element.querySelector('.layer');
    this.#layer.hidden = !onLayer;
    if (onLayer) this.#fillLayers(onLayer);
  }

  /**
   * Shows a stream. Resolves to `false` when the browser wants a click before it plays sound: then
   * the picture plays alone.
   */
  async play(stream) {
    if (this.#video.srcObject !== stream) this.#video.srcObject = stream;
    // To ask again without a click would stop the picture for a moment, and to no avail.
    else if (this.#waitsForClick && !navigator.userActivation.hasBeenActive) return false;
    this.#video.muted = this.#silent;
    try {
      await this.#video.play();
      this.#waitsForClick = false;
      return true;
    } catch (error) {
      if (error.name !== 'NotAllowedError') return true;
      this.#waitsForClick = true;
      this.#video.muted = true;
      // A picture without sound needs no click; if even that fails, the words above it say so.
      await this.#video.play().catch(() => {});
      return false;
    }
  }

  /** Says over the picture why there is none; an empty text takes the words away. */
  wait(text) {
    const waiting = this.element.querySelector('.waiting');
    waiting.hidden = !text;
    waiting.querySelector('span').textContent = text;
  }

  /** Words for a remote: nothing once its picture moves. */
  waitFor(remote) {
    const hasPicture = remote.stream.getVideoTracks().length > 0;
    if (remote.error) this.wait(explainTrack(remote.error));
    else this.wait(hasPicture ? '' : 'Plugging in…');
  }

  /** Takes the choice of layers away from a publication that has one size only. */
  showLayers(visible) {
    this.#layer.hidden = !visible;
  }

  /** New figures: `video` and `audio` as `Figures` reads them, `roundTripMs` of the connection. */
  show({ video, audio, roundTripMs, layer }) {
    const bitrate = sum(video?.bitrate, audio?.bitrate);
    this.#set('bitrate', formatBitrate(bitrate));
    this.#set('loss', formatNumber(worst(video?.lossPercent, audio?.lossPercent), '%', 1));
    this.#set('roundTrip', formatNumber(roundTripMs, 'ms', roundTripMs < 10 ? 1 : 0));
    this.#set('size', video ? formatSize(video) : formatSize({}));
    this.#set('frameRate', formatNumber(video?.frameRate, 'fps'));
    this.#set('layer', [video?.codec, layer].filter(Boolean).join(' · ') || '–');
    this.#draw(bitrate ?? 0);
  }

  /** What the server says of the video that it sends us: see `Meeting.measured`. */
  explain({ subscription, estimate }) {
    this.#set('estimate', formatBitrate(estimate));
    this.#set('why', subscription ? explainLayer(subscription) : '–');
  }

  remove() {
    this.#video.srcObject = null;
    this.element.remove();
  }

  #fillLayers(onLayer) {
    const select = this.#layer.querySelector('select');
    const best = LAYERS.slice().reverse();
    for (const { rid, label } of [{ rid: '', label: 'Automatic' }, ...best]) {
      select.add(new Option(rid ? `${label} (${rid})` : label, rid));
    }
    select.addEventListener('change', () => onLayer(select.value));
  }

  #set(figure, text) {
    const value = this.#values.get(figure);
    if (value && value.textContent !== text) value.textContent = text;
  }

  #draw(bitrate) {
    this.#history.push(bitrate);
    if (this.#history.length > SPARK_POINTS) this.#history.shift();
    const top = Math.max(...this.#history, 1);
    const points = this.#history.map((value, index) => {
      const x = SPARK_WIDTH - (this.#history.length - 1 - index) * (SPARK_WIDTH / (SPARK_POINTS - 1));
      return `${x.toFixed(1)},${(SPARK_HEIGHT - 2 - (value / top) * (SPARK_HEIGHT - 6)).toFixed(1)}`;
    });
    this.element.querySelector('polyline').setAttribute('points', points.join(' '));
  }
}

function sum(...values) {
  const known = values.filter((value) => value !== null && value !== undefined);
  return known.length > 0 ? known.reduce((total, value) => total + value, 0) : null;
}

function worst(...values) {
  const known = values.filter((value) => value !== null && value !== undefined);
  return known.length > 0 ? Math.max(...known) : null;
}
