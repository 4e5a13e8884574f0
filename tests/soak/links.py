"""A TCP proxy of the tests' own: a link between two programs that can be slow, cut, mute, reset or refused."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from collections.abc import Callable
from typing import cast

_HIGH_WATER = 1024 * 1024
_TICK = 1e-5


class Link:
    """Listens on `port` and passes everything on to `target`, as far as it is let.

    A link that is cut or mute loses nothing: as with a real partition the senders' data waits, and arrives
    once the link is whole, or goes down with the connection.
    """

    def __init__(self, port: int, target: int) -> None:
        self.port = port
        self.target = target
        self.delay = 0.0
        self.held = {"there": False, "back": False}
        self.pairs: set[_Pair] = set()
        self._server: asyncio.Server | None = None
        self._whole = asyncio.Event()
        self._whole.set()

    async def open(self) -> None:
        """Listen."""
        if self._server is None:
            loop = asyncio.get_running_loop()
            self._server = await loop.create_server(lambda: _Pair(self).near, "127.0.0.1", self.port)

    async def close(self) -> None:
        """Refuse connections, and end those that are there."""
        server, self._server = self._server, None
        if server is not None:
            server.close()
        self.reset()

    def hold(self, *, there: bool = True, back: bool = True) -> None:
        """Let nothing pass in a direction: to the target, or back from it."""
        self.held = {"there": there, "back": back}
        if there:
            self._whole.clear()
        self._apply()

    async def heal(self) -> None:
        """Be whole again."""
        self.delay = 0.0
        self.held = {"there": False, "back": False}
        self._whole.set()
        self._apply()
        await self.open()

    def reset(self) -> None:
        """End every connection at once, with an RST to both sides."""
        for pair in list(self.pairs):
            pair.abort()

    async def until_whole(self) -> None:
        """Wait until what is sent to the target gets there."""
        await self._whole.wait()

    def _apply(self) -> None:
        for pair in self.pairs:
            pair.near.apply()
            pair.far.apply()


class _Pair:
    """One connection and its continuation to the target."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self.near = _Side(self, "there")
        self.far = _Side(self, "back")
        self.near.other, self.far.other = self.far, self.near
        self.connecting: asyncio.Task[None] | None = None
        link.pairs.add(self)

    async def connect(self) -> None:
        await self.link.until_whole()
        try:
            loop = asyncio.get_running_loop()
            await loop.create_connection(lambda: self.far, "127.0.0.1", self.link.target)
        except OSError:
            self.abort()

    def abort(self) -> None:
        self.link.pairs.discard(self)
        if self.connecting is not None:
            self.connecting.cancel()
        for side in (self.near, self.far):
            side.abort()


class _Side(asyncio.Protocol):
    """One end: what it receives goes to the other one, in its order, and no earlier than the link lets it."""

    other: _Side

    def __init__(self, pair: _Pair, direction: str) -> None:
        self._pair = pair
        self._direction = direction
        self._transport: asyncio.Transport | None = None
        self._early: list[bytes] = []
        self._due = 0.0
        self._full = False
        self._ended = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(_HIGH_WATER)
        if self._pair.near is self:
            self._pair.connecting = asyncio.get_running_loop().create_task(self._pair.connect())
        for data in self._early:
            self._transport.write(data)
        self._early.clear()
        if self._ended:
            self._transport.close()
        self.apply()

    def data_received(self, data: bytes) -> None:
        self._later(lambda: self.other.write(data))

    def eof_received(self) -> bool:
        self._later(self.other.end)
        return True

    def connection_lost(self, error: Exception | None) -> None:
        if error is not None:
            self._pair.abort()
        else:
            self._later(self.other.end)
        if self.other.is_over:
            self._pair.link.pairs.discard(self._pair)
        self._ended = True

    @property
    def is_over(self) -> bool:
        return self._ended or (self._transport is not None and self._transport.is_closing())

    def pause_writing(self) -> None:
        self.other.full(is_full=True)

    def resume_writing(self) -> None:
        self.other.full(is_full=False)

    def full(self, *, is_full: bool) -> None:
        self._full = is_full
        self.apply()

    def write(self, data: bytes) -> None:
        if self._transport is None:
            self._early.append(data)
        elif not self._transport.is_closing():
            self._transport.write(data)

    def end(self) -> None:
        self._ended = True
        if self._transport is not None and not self._transport.is_closing():
            self._transport.close()

    def abort(self) -> None:
        self._ended = True
        if self._transport is None or self._transport.is_closing():
            return
        number = self._transport.get_extra_info("socket").fileno()
        if number >= 0:
            with socket.socket(fileno=os.dup(number)) as twin:  # not every loop's sockets can be told anything
                twin.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()

    def apply(self) -> None:
        """Read, or leave unread what comes, as the link and the other side want it."""
        if self._transport is None or self._transport.is_closing():
            return
        if self._full or self._pair.link.held[self._direction]:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()

    def _later(self, act: Callable[[], None]) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        if self._due < now and not self._pair.link.delay:
            act()
            return
        self._due = max(self._due + _TICK, now + self._pair.link.delay)  # what came first arrives first
        loop.call_at(self._due, act)
