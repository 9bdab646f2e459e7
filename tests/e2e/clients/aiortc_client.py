"""aiortc, unmodified from PyPI: one connection pushes a picture and a tone, another pulls both.

Prints one line of JSON: how many frames of each kind the puller received.
"""

import asyncio
import json
import math
import sys
import urllib.error
import urllib.request
from fractions import Fraction

import numpy
from aiortc import (
    MediaStreamTrack,
    RTCConfiguration,
    RTCPeerConnection,
    RTCSessionDescription,
    VideoStreamTrack,
)
from av import AudioFrame, VideoFrame

VIDEO_FRAMES = 90
AUDIO_FRAMES = 150
TIMEOUT_SECONDS = 40


class Picture(VideoStreamTrack):
    """A bar that moves over a grey field, at aiortc's own 30 frames a second."""

    def __init__(self):
        super().__init__()
        self.number = 0

    async def recv(self):
        pts, time_base = await self.next_timestamp()
        pixels = numpy.full((240, 320, 3), 90, dtype=numpy.uint8)
        left = (self.number * 4) % 300
        pixels[:, left : left + 20] = (230, 160, 60)
        self.number += 1
        frame = VideoFrame.from_ndarray(pixels, format="rgb24")
        frame.pts, frame.time_base = pts, time_base
        return frame


class Tone(MediaStreamTrack):
    """440 Hz in frames of 20 ms."""

    kind = "audio"

    def __init__(self):
        super().__init__()
        self.samples = 0
        self.begin = None

    async def recv(self):
        loop = asyncio.get_running_loop()
        if self.begin is None:
            self.begin = loop.time()
        await asyncio.sleep(max(0, self.begin + self.samples / 48000 - loop.time()))
        times = numpy.arange(self.samples, self.samples + 960) / 48000
        wave = (8000 * numpy.sin(2 * math.pi * 440 * times)).astype(numpy.int16)
        frame = AudioFrame.from_ndarray(wave.reshape(1, -1), format="s16", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = 48000, self.samples, Fraction(1, 48000)
        self.samples += 960
        return frame


class Api:
    """The sessions/tracks API, from a thread, since urllib blocks."""

    def __init__(self, base, secret):
        self.base, self.secret = base, secret

    async def call(self, method, path, body=None):
        return await asyncio.to_thread(self._call, method, path, body)

    def _call(self, method, path, body):
        request = urllib.request.Request(self.base + path, method=method)
        request.add_header("Authorization", f"Bearer {self.secret}")
        data = None if body is None else json.dumps(body).encode()
        try:
            with urllib.request.urlopen(request, data, timeout=15) as response:
                return json.load(response)
        except urllib.error.HTTPError as error:
            raise RuntimeError(f"{method} {path}: {error.code} {error.read().decode()}") from error


def described(description):
    return {"type": description.type, "sdp": description.sdp}


def connection():
    # No STUN server: everything happens on this machine.
    return RTCPeerConnection(RTCConfiguration(iceServers=[]))


async def push(api, peer):
    """Pushes both tracks with the client's offer; returns the publisher's session id."""
    session = (await api.call("POST", "/sessions/new"))["sessionId"]
    peer.addTrack(Picture())
    peer.addTrack(Tone())
    await peer.setLocalDescription(await peer.createOffer())
    tracks = [
        {"location": "local", "mid": one.mid, "trackName": one.kind} for one in peer.getTransceivers()
    ]
    answer = await api.call(
        "POST",
        f"/sessions/{session}/tracks/new",
        {"sessionDescription": described(peer.localDescription), "tracks": tracks},
    )
    await peer.setRemoteDescription(RTCSessionDescription(**answer["sessionDescription"]))
    return session


async def pull(api, peer, publisher):
    """Pulls both tracks with the server's offer."""
    session = (await api.call("POST", "/sessions/new"))["sessionId"]
    tracks = [
        {"location": "remote", "sessionId": publisher, "trackName": kind} for kind in ("video", "audio")
    ]
    answer = await api.call("POST", f"/sessions/{session}/tracks/new", {"tracks": tracks})
    failed = [item for item in answer["tracks"] if item.get("errorCode")]
    if failed:
        raise RuntimeError(f"not pulled: {failed}")
    await peer.setRemoteDescription(RTCSessionDescription(**answer["sessionDescription"]))
    await peer.setLocalDescription(await peer.createAnswer())
    await api.call(
        "PUT",
        f"/sessions/{session}/renegotiate",
        {"sessionDescription": described(peer.localDescription)},
    )


async def received(peer):
    """Receives until both kinds have had their frames."""
    tracks = {one.kind: one.receiver.track for one in peer.getTransceivers()}

    async def take(kind, count):
        brightest = 0
        for _ in range(count):
            frame = await tracks[kind].recv()
            brightest = max(brightest, int(numpy.abs(frame.to_ndarray()).max()))
        return {"frames": count, "brightest": brightest}

    video, audio = await asyncio.gather(take("video", VIDEO_FRAMES), take("audio", AUDIO_FRAMES))
    return {"video": video, "audio": audio}


async def main(base, secret):
    api, publisher, subscriber = Api(base, secret), connection(), connection()
    try:
        await pull(api, subscriber, await push(api, publisher))
        print(json.dumps(await received(subscriber)))
    finally:
        await asyncio.gather(publisher.close(), subscriber.close())


asyncio.run(asyncio.wait_for(main(*sys.argv[1:]), TIMEOUT_SECONDS))
