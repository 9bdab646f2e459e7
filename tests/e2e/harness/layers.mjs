// A publisher that sends three sizes of its picture.

import { outbound } from './browser.mjs';
import { until } from './wait.mjs';

const RAMP_TIMEOUT_MS = 25_000;

/** How wide each layer is, by its rid. */
export const WIDTHS = { a: 960, b: 480, c: 240 };

/** Settings of its tab: Chromium sends all three layers from 960x540 on. */
export const THREE_LAYERS = { size: '960x540', simulcast: '1', name: 'Three sizes' };

/** Waits until Chromium has found the bandwidth to send all of them. */
export function allLayersSent(publisher) {
  return until('three layers to be sent', RAMP_TIMEOUT_MS, async () => {
    const layers = outbound(await publisher.stats(), 'video');
    const widths = layers.filter(({ framesPerSecond }) => framesPerSecond > 20).map(({ frameWidth }) => frameWidth);
    return Object.values(WIDTHS).every((width) => widths.includes(width));
  });
}
