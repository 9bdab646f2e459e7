// Failures in plain words: what happened, and what to do about it.

import { ApiFailure } from './api.js';
import { NoMediaPath } from './call.js';
import { StandIn } from './media.js';

/** `{title, advice}` for an error that ended, or kept us from, a call. */
export function explain(error, { app }) {
  if (error instanceof NoMediaPath) return noMediaPath(error);
  if (!(error instanceof ApiFailure)) return unexpected(error);
  switch (error.status) {
    case 0:
      return {
        title: 'The server does not answer.',
        advice: `Is Jackfield running at ${location.origin}? Was it started on another address or port?`,
      };
    case 401:
      return {
        title: 'The server refused the secret.',
        advice: `The secret does not belong to the app ${shorten(app)}. Jackfield prints both when it makes an app.`,
      };
    case 404:
      return {
        title: 'The server does not know this app.',
        advice: `There is no app ${shorten(app)} here. Check the link, or the line that Jackfield printed at its start.`,
      };
    case 410:
      return {
        title: 'The session is gone.',
        advice: 'The media server was restarted, or lost sight of this browser for too long.',
      };
    case 425:
      return noMediaPath({ candidates: [] });
    case 429:
      return {
        title: 'The server asks us to slow down.',
        advice: 'More than 50 requests in a second were made for this session.',
      };
    default:
      return {
        title: error.status >= 500 ? 'The server had a fault.' : 'The server refused the request.',
        advice: `${error.message}${error.code ? ` (${error.code})` : ''}`,
      };
  }
}

/** Why a test picture is being sent; empty when it was asked for. */
export function explainStandIn(standIn) {
  switch (standIn) {
    case StandIn.INSECURE:
      return 'This page was not opened over https, so the browser gives no camera. A test picture is sent instead.';
    case StandIn.REFUSED:
      return 'The camera was refused. A test picture is sent instead.';
    case StandIn.MISSING:
      return 'No camera was found. A test picture is sent instead.';
    case StandIn.BUSY:
      return 'Another program holds the camera. A test picture is sent instead.';
    default:
      return '';
  }
}

/** Why a track of somebody else does not come. */
export function explainTrack(error) {
  switch (error?.code) {
    case 'empty_track_error':
      return 'Waiting for their first packets';
    case 'not_found_track_error':
      return 'Their session is not connected yet';
    default:
      return error?.message || 'The server gave no reason';
  }
}

/** Why a video is not larger or sharper: `subscription` as the server tells it. */
export function explainLayer({ reason, awaitingKeyFrame, freezeRisk }) {
  if (awaitingKeyFrame) return 'Waiting for a whole picture from them';
  const shaky = freezeRisk === 'low' ? '' : ' The connection is shaky.';
  switch (reason) {
    case 'best':
      return `This is the best that they send.${shaky}`;
    case 'bandwidth':
      return `A larger size does not fit your connection.${shaky}`;
    case 'publisherNotSending':
      return 'They do not send a larger size just now.';
    case 'asked':
      return `You asked for this size.${shaky}`;
    case 'paused':
      return 'Paused: not even the smallest size fits your connection.';
    case 'notLoudest':
      return 'Others are louder just now.';
    default:
      return reason;
  }
}

function noMediaPath({ candidates }) {
  const where = candidates.length > 0 ? candidates.join(' and ') : 'its media port';
  return {
    title: 'No media path to the server.',
    advice: `The API answers, but no media packet comes back from ${where}. A firewall may block it, `
      + 'or the server offers an address that this browser cannot reach (see --media-ip).',
  };
}

function unexpected(error) {
  return { title: 'Something went wrong in this page.', advice: String(error?.message ?? error) };
}

function shorten(app) {
  return app.length > 12 ? `${app.slice(0, 8)}…` : app;
}
