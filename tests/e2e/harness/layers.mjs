// A publisher that sends its picture in several sizes.

import { outbound } from './browser.mjs';
import { until } from './wait.mjs';

const RAMP_TIMEOUT_MS = 25_000;

/** How wide each layer is, by its rid. */
export const WIDTHS = { a: 960, b: 480, c: 240 };

/** Settings of its tab: Chromium sends all three layers from 960x540 on. */
export const THREE_LAYERS = { size: '960x540', simulcast: '1', name: 'Three sizes' };

/** Waits until Chromium has found the bandwidth to send all of them. */
export function allLayersSent(publisher) {
  return widthsSent(publisher, Object.values(WIDTHS));
}

/**
 * Waits until pictures of all these widths are sent; of one with layers inside, that of its largest counts.
 * Resolves to all widths that are sent then.
 */
export function widthsSent(publisher, wanted) {
  return until(`pictures ${wanted} wide to be sent`, RAMP_TIMEOUT_MS, async () => {
    const layers = outbound(await publisher.stats(), 'video');
    const widths = layers.filter(({ framesPerSecond }) => framesPerSecond > 20).map(({ frameWidth }) => frameWidth);
    return wanted.every((width) => widths.includes(width)) && widths;
  });
}
