// Runs in a browser: the unmodified partytracks client pushes a picture and a tone, and pulls both.

import { PartyTracks } from 'partytracks/client';
import { firstValueFrom, of } from 'rxjs';

const video = document.createElement('video');
video.autoplay = true;
video.muted = true;
document.body.append(video);

/** Pushes and pulls with `config` of PartyTracks; resolves to what the puller received in `milliseconds`. */
window.pushAndPull = async ({ prefix, authorization, iceServers, milliseconds }) => {
  const config = {
    prefix,
    ...(iceServers && { iceServers }),
    ...(authorization && { headers: new Headers({ Authorization: authorization }) }),
  };
  const publisher = new PartyTracks(config);
  const subscriber = new PartyTracks(config);
  const source = await navigator.mediaDevices.getUserMedia({ audio: true, video: { width: 640, height: 360 } });
  const [camera] = source.getVideoTracks();
  const [microphone] = source.getAudioTracks();

  // A subscription keeps each track alive: an observable without one is taken down again.
  const pushed = await Promise.all([camera, microphone].map((track) => held(publisher.push(of(track)))));
  const pulled = await Promise.all(pushed.map((metadata) => held(subscriber.pull(of(metadata)))));
  video.srcObject = new MediaStream(pulled);

  const { peerConnection } = await firstValueFrom(subscriber.session$);
  let before = await received(peerConnection);
  while (!before.video?.framesDecoded || !before.audio?.packetsReceived) {
    await new Promise((resolve) => setTimeout(resolve, 100));
    before = await received(peerConnection);
  }
  await new Promise((resolve) => setTimeout(resolve, milliseconds));
  const after = await received(peerConnection);
  return { pushed, before, after, history: publisher.history.entries.length };
};

function held(observable) {
  return new Promise((resolve, reject) => observable.subscribe({ next: resolve, error: reject }));
}

async function received(peerConnection) {
  const report = Array.from((await peerConnection.getStats()).values());
  const figures = report.filter(({ type }) => type === 'inbound-rtp').map((entry) => [entry.kind, {
    framesDecoded: entry.framesDecoded,
    packetsReceived: entry.packetsReceived,
    packetsLost: entry.packetsLost,
  }]);
  return Object.fromEntries(figures);
}
