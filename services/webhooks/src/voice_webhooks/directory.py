"""The tenants, keys and claims that the intake goes by: a copy at most `DIRECTORY_MAX_AGE` seconds old."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from voice_common.store.tenants import DIRECTORY_MAX_AGE, Directory, TenantStore


class CachedDirectory:
    """The directory, read again when it is too old; its age counts from the start of its look-up.

    A look-up reads one small document where nothing has changed. Commands that add a claim or a key wait
    `DIRECTORY_MAX_AGE` before they return, so that no copy without it is used after that.
    """

    def __init__(self, tenants: TenantStore, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._tenants = tenants
        self._clock = clock
        self._directory: Directory | None = None
        self._as_of = float("-inf")
        self._refresh: asyncio.Task[Directory] | None = None
        self._started_at = float("-inf")

    def at_hand(self) -> Directory | None:
        """Give a directory that is not too old, where there is one without a look-up."""
        age = self._clock() - self._as_of
        if self._directory is None or age >= DIRECTORY_MAX_AGE:
            return None
        if age > DIRECTORY_MAX_AGE / 2 and self._refresh is None:
            self._begin()  # ahead of need, so that no request waits for it
        return self._directory

    async def current(self) -> Directory:
        """Give a directory that is not too old."""
        known = self.at_hand()
        return await asyncio.shield(self._refresh or self._begin()) if known is None else known

    async def fresh(self) -> Directory:
        """Give a directory whose look-up began after this call; calls that arrive together share one."""
        called_at = self._clock()
        while self._refresh is not None and self._started_at < called_at:
            await asyncio.wait([self._refresh])
        return await asyncio.shield(self._refresh or self._begin())

    async def close(self) -> None:
        """End a look-up that is under way: left alone it would keep its transaction open on the server."""
        if self._refresh is not None:
            self._refresh.cancel()
            await asyncio.wait([self._refresh])

    def _begin(self) -> asyncio.Task[Directory]:
        self._started_at = self._clock()
        self._refresh = asyncio.create_task(self._read(self._started_at))
        self._refresh.add_done_callback(self._ended)
        return self._refresh

    def _ended(self, task: asyncio.Task[Directory]) -> None:
        self._refresh = None
        if not task.cancelled():
            task.exception()  # whoever waits for the task is told; nobody may be waiting

    async def _read(self, started_at: float) -> Directory:
        known = self._directory
        if known is None or await self._tenants.version() != known.version:
            known = await self._tenants.directory()
        self._directory, self._as_of = known, started_at
        return known
