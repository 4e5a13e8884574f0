"""The bodies of webhooks that this process holds: each bounded, and all of them together.

No token stands before them, so without the second bound whoever begins enough of them fills the memory.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from voice_common.errors import Unavailable
from voice_common.web.bodies import bounded


class Bodies:
    """Reads bodies of at most `largest` bytes, and holds at most `most` bytes at a time."""

    def __init__(self, *, largest: int, most: int) -> None:
        self._largest = largest
        self._most = most
        self._held = 0

    @asynccontextmanager
    async def read(self, request: web.BaseRequest) -> AsyncIterator[list[bytes]]:
        """Give a request's whole body in the pieces in which it came; it counts as held until the context ends.

        In pieces: put together it would be there twice for a moment, and what is counted is what is held.
        Raises what `bounded` does, and `Unavailable` where all that are held together would be too much.
        """
        pieces: list[bytes] = []
        counted = 0
        try:
            async for chunk in bounded(request, self._largest):
                pieces.append(chunk)
                self._held += len(chunk)
                counted += len(chunk)
                if self._held > self._most:
                    raise Unavailable
            yield pieces
        finally:
            self._held -= counted
