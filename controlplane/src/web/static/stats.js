// The browser's report, as few figures as a person can read, and all that a test needs.

/**
 * Turns reports into figures. Rates need two reports, so one `Figures` belongs to one call.
 *
 * A figure that the browser does not tell is `null`.
 */
export class Figures {
  #before = new Map();

  /** `{roundTripMs, inbound: Map(mid -> figures), outbound: [figures per layer]}` */
  read(report) {
    const byId = new Map(Array.from(report.values(), (entry) => [entry.id, entry]));
    const inbound = new Map();
    const outbound = [];
    for (const entry of byId.values()) {
      if (entry.type === 'inbound-rtp') inbound.set(entry.mid, this.#inbound(entry, byId));
      if (entry.type === 'outbound-rtp') outbound.push(this.#outbound(entry, byId));
    }
    this.#before = byId;
    return { roundTripMs: roundTrip(byId), inbound, outbound };
  }

  #inbound(entry, byId) {
    const got = this.#delta(entry, 'packetsReceived');
    const lost = this.#delta(entry, 'packetsLost');
    return {
      ...common(entry, byId),
      bitrate: this.#rate(entry, 'bytesReceived'),
      lossPercent: got === null || got + lost <= 0 ? null : Math.max(0, (100 * lost) / (got + lost)),
      jitterMs: entry.jitter === undefined ? null : entry.jitter * 1000,
      freezes: entry.freezeCount ?? null,
      framesDecoded: entry.framesDecoded ?? null,
    };
  }

  #outbound(entry, byId) {
    const remote = byId.get(entry.remoteId);
    return {
      ...common(entry, byId),
      rid: entry.rid ?? '',
      bitrate: this.#rate(entry, 'bytesSent'),
      lossPercent: remote?.fractionLost === undefined ? null : remote.fractionLost * 100,
      limitedBy: entry.qualityLimitationReason ?? 'none',
    };
  }

  // Bits a second since the report before.
  #rate(entry, field) {
    const bytes = this.#delta(entry, field);
    const elapsedMs = this.#delta(entry, 'timestamp');
    return bytes === null || elapsedMs <= 0 ? null : (bytes * 8000) / elapsedMs;
  }

  #delta(entry, field) {
    const before = this.#before.get(entry.id);
    return before?.[field] === undefined ? null : entry[field] - before[field];
  }
}

/** Every entry of a report that a test may ask for, as plain objects. */
export function plainReport(report) {
  const types = ['inbound-rtp', 'outbound-rtp', 'remote-inbound-rtp', 'candidate-pair', 'local-candidate', 'transport', 'codec'];
  return Array.from(report.values()).filter(({ type }) => types.includes(type));
}

/** `1.24 Mb/s`, `310 kb/s`; a dash for what is not known. */
export function formatBitrate(bitsPerSecond) {
  if (bitsPerSecond === null) return DASH;
  if (bitsPerSecond >= 1e6) return `${(bitsPerSecond / 1e6).toFixed(2)} Mb/s`;
  return `${Math.round(bitsPerSecond / 1e3)} kb/s`;
}

/** A number with a unit; a dash for what is not known. */
export function formatNumber(value, unit, digits = 0) {
  return value === null || value === undefined ? DASH : `${value.toFixed(digits)} ${unit}`;
}

/** `1280×720`; a dash for what is not known. */
export function formatSize({ width, height }) {
  return width ? `${width}×${height}` : DASH;
}

function common(entry, byId) {
  return {
    mid: entry.mid,
    kind: entry.kind,
    codec: byId.get(entry.codecId)?.mimeType.split('/')[1] ?? null,
    width: entry.frameWidth ?? null,
    height: entry.frameHeight ?? null,
    frameRate: entry.framesPerSecond ?? null,
  };
}

function roundTrip(byId) {
  for (const entry of byId.values()) {
    if (entry.type === 'transport' && entry.selectedCandidatePairId) {
      const seconds = byId.get(entry.selectedCandidatePairId)?.currentRoundTripTime;
      return seconds === undefined ? null : seconds * 1000;
    }
  }
  return null;
}

const DASH = '–';
