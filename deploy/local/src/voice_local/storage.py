"""Stands in for the storage in which Telnyx keeps recordings, so that those of simulated calls can be heard.

A recording is made up when it is asked for: a soft note each second, going up and down, so that ears notice a jump.
"""

from __future__ import annotations

import io
import math
import wave
from array import array
from functools import cache

from aiohttp import hdrs, web

STORAGE = "storage"
"""The name of its port among a stack's."""

_RATE = 8000  # Hz, as telephones have it
_BYTES = 2  # of a sample
_NOTES = (440.0, 494.0, 554.0, 659.0, 740.0, 659.0, 554.0, 494.0)  # Hz
_LOUDNESS = 7000  # of 32767
_FADES = 5.0  # the note's strength falls by e in a fifth of a second
_LONGEST_SECONDS = 3600
_PARTIAL, _NOT_SATISFIABLE = 206, 416


def recording_url(port: int, name: str, seconds: int) -> str:
    """Give the URL of a made-up recording of so many seconds, of the storage on a port."""
    return f"{origin(port)}/{name}.wav?seconds={min(max(1, seconds), _LONGEST_SECONDS)}"


def origin(port: int) -> str:
    """Give the origin of the storage on a port."""
    return f"http://127.0.0.1:{port}"


class Storage:
    """The storage of a running stack."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Serve until stopped; raise `OSError` where the port is taken."""
        app = web.Application()
        app.router.add_get("/{name}.wav", _answer)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self._port).start()

    async def stop(self) -> None:
        """Stop serving."""
        if self._runner is not None:
            await self._runner.cleanup()


async def _answer(request: web.Request) -> web.Response:
    """Give a recording, or the part of it that was asked for: players jump by asking for parts."""
    try:
        seconds = int(request.query.get("seconds", ""))
    except ValueError:
        raise web.HTTPNotFound from None
    if not 1 <= seconds <= _LONGEST_SECONDS:
        raise web.HTTPNotFound
    head = _head(seconds)
    size = len(head) + seconds * _RATE * _BYTES
    headers = {hdrs.CONTENT_TYPE: "audio/wav", hdrs.ACCEPT_RANGES: "bytes"}
    if hdrs.RANGE not in request.headers:
        return web.Response(body=_part(head, 0, size), headers=headers)
    try:
        start, stop, _ = request.http_range.indices(size)
    except ValueError:
        start = stop = size
    if start >= stop:
        return web.Response(status=_NOT_SATISFIABLE, headers={hdrs.CONTENT_RANGE: f"bytes */{size}"})
    headers[hdrs.CONTENT_RANGE] = f"bytes {start}-{stop - 1}/{size}"
    return web.Response(status=_PARTIAL, body=_part(head, start, stop), headers=headers)


def _part(head: bytes, start: int, stop: int) -> bytes:
    """Give some bytes of a recording: its head, then the notes again and again."""
    notes = _notes()
    skipped = max(0, start - len(head))
    wanted = max(0, stop - max(start, len(head)))
    offset = skipped % len(notes)
    repeats = -(-(offset + wanted) // len(notes))
    return head[start:stop] + (notes * repeats)[offset : offset + wanted]


def _head(seconds: int) -> bytes:
    """Give a WAV file's bytes before its samples."""
    made = io.BytesIO()
    with wave.open(made, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(_BYTES)
        file.setframerate(_RATE)
        file.writeframes(b"\0" * _BYTES)
    head = bytearray(made.getvalue()[:-_BYTES])
    sound = seconds * _RATE * _BYTES
    head[4:8] = (len(head) - 8 + sound).to_bytes(4, "little")
    head[-4:] = sound.to_bytes(4, "little")
    return bytes(head)


@cache
def _notes() -> bytes:
    samples = array("h")
    for note in _NOTES:
        for place in range(_RATE):
            at = place / _RATE
            rising = min(1.0, at * 100)  # a note that starts at once clicks
            samples.append(round(_LOUDNESS * rising * math.exp(-_FADES * at) * math.sin(2 * math.pi * note * at)))
    return samples.tobytes()
