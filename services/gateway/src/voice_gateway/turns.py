"""Turns: how much of something each client may have under way at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Turns:
    """At most `at_once` of one client; what is more waits its turn, and nothing is kept of a client that has none."""

    def __init__(self, at_once: int) -> None:
        self._at_once = at_once
        self._of: dict[str, tuple[asyncio.Semaphore, int]] = {}

    @asynccontextmanager
    async def of(self, client: str) -> AsyncIterator[None]:
        """Wait for a turn of `client`, and hold it."""
        turns, users = self._of.get(client) or (asyncio.Semaphore(self._at_once), 0)
        self._of[client] = turns, users + 1
        try:
            async with turns:
                yield
        finally:
            turns, users = self._of[client]
            if users == 1:
                del self._of[client]
            else:
                self._of[client] = turns, users - 1
