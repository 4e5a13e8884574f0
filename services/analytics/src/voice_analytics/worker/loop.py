"""The worker's turn: look what is dirty, missing or old, and refresh it, as long as it holds the lease."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import asynccontextmanager
from typing import TypeVar

import structlog
from prometheus_client import Counter, Gauge
from pymongo.errors import PyMongoError

from voice_analytics.refresh import RollupKeeper, TenantDay
from voice_analytics.sealing import Sealing
from voice_common.lease import Lease
from voice_common.mongo import Database
from voice_common.times import now_ms

T = TypeVar("T")
LEASE_SECONDS = 10.0
_SURVEY_SECONDS = 5.0
_MEASURE_SECONDS = 1.0
_PAUSE_AFTER_FAILURE = 1.0
_AT_ONCE = 8  # refreshes that wait for the journal together
_REFRESHED = Counter("voice_rollup_days_refreshed_total", "Days whose rollup was recomputed, wholly or in part")
_SEALED = Counter("voice_rollup_days_sealed_total", "Days sealed because their calls were kept long enough")
_FAILURES = Counter("voice_rollup_failures_total", "Rounds of the rollup worker that failed")
_DIRTY = Gauge("voice_rollup_dirty_days", "Days with dirty hours at the last look", multiprocess_mode="livemax")
_LAG = Gauge(
    "voice_rollup_lag_seconds",
    "Age of the oldest mark of a dirty hour, whoever's turn it is",
    multiprocess_mode="livemax",
)
_log = structlog.get_logger("voice.rollups")


@asynccontextmanager
async def working(database: Database, *, poll_seconds: float, drain_seconds: float) -> AsyncIterator[None]:
    """Keep the rollups meanwhile; at the end, the day at hand is finished if `drain_seconds` are enough for it."""
    worker = RollupWorker(database, poll_seconds=poll_seconds)
    task = asyncio.create_task(worker.run())
    try:
        yield
    finally:
        worker.stop()
        await asyncio.wait({task}, timeout=drain_seconds)
        task.cancel()
        await asyncio.wait({task}, timeout=1)  # PyMongo can lose a cancellation; the task ends by itself then


class RollupWorker:
    """Keeps the rollups of a database until it is told to stop."""

    def __init__(self, database: Database, *, poll_seconds: float) -> None:
        self._keeper = RollupKeeper(database)
        self._sealing = Sealing(database)
        self._lease = Lease(database, "rollups", seconds=LEASE_SECONDS)
        self._poll_seconds = poll_seconds
        self._surveyed = -_SURVEY_SECONDS
        self._measured = -_MEASURE_SECONDS
        self._stop = asyncio.Event()

    def stop(self) -> None:
        """Have `run` end after the day that it is at."""
        self._stop.set()

    async def run(self) -> None:
        """Work until `stop`; failures are logged and counted, and the work goes on."""
        while not self._stop.is_set():
            pause = self._poll_seconds
            try:
                await self._measure()
                if await self._lease.held() and await self._round():
                    pause = 0
            except Exception:  # noqa: BLE001 - the loop outlives whatever one round meets
                _FAILURES.inc()
                _log.exception("rollups could not be refreshed")
                pause = _PAUSE_AFTER_FAILURE
            await self._wait(pause)
        try:
            await self._lease.release()
        except PyMongoError as error:
            _log.warning("the lease could not be given back", error=type(error).__name__)

    async def _measure(self) -> None:
        """Show how far behind the rollups are; whoever waits for its turn does too, and tells of one that hangs."""
        if time.monotonic() - self._measured < _MEASURE_SECONDS:
            return
        self._measured = time.monotonic()
        oldest = await self._keeper.oldest_mark()
        _LAG.set(0 if oldest is None else max(0, now_ms() - oldest) / 1000)

    async def _round(self) -> bool:
        """Refresh what there is to refresh; tell whether a survey found so much that there may be more.

        What fails keeps nothing else from being done; it is raised at the end, as an `ExceptionGroup`.
        """
        failures: list[Exception] = []
        more = time.monotonic() - self._surveyed >= _SURVEY_SECONDS and await self._survey(failures)
        dirty = await self._keeper.dirty_days()
        _DIRTY.set(len(dirty))
        await self._refresh(dirty, failures)
        if failures:
            message = "not all could be refreshed, built or sealed"
            raise ExceptionGroup(message, failures)
        return more

    async def _survey(self, failures: list[Exception]) -> bool:
        """Make what is missing, indexes too: a rebuild may have put another collection in a collection's place."""
        await self._keeper.prepare()
        for tenant in await self._keeper.unbuilt_tenants():
            _log.info("building rollups", tenant=tenant)
            await self._tried(self._keeper.build(tenant), failures)
        stale = await self._keeper.stale_days()
        await self._refresh(stale, failures)
        sealed = await self._tried(self._sealing.step(), failures) or 0
        _SEALED.inc(sealed)
        if failures or (not stale and not sealed):
            self._surveyed = time.monotonic()
        return bool(stale or sealed)

    @staticmethod
    async def _tried(work: Awaitable[T], failures: list[Exception]) -> T | None:
        try:
            return await work
        except Exception as error:  # noqa: BLE001 - it is raised once all else is done
            failures.append(error)
            return None

    async def _refresh(self, days: Sequence[TenantDay], failures: list[Exception]) -> None:
        for first in range(0, len(days), _AT_ONCE):
            if self._stop.is_set() or not await self._lease.held():
                break
            outcomes = await asyncio.gather(
                *(self._keeper.refresh(tenant, day) for tenant, day in days[first : first + _AT_ONCE]),
                return_exceptions=True,
            )
            # One day that can't be refreshed does not keep the others from it.
            failures += [outcome for outcome in outcomes if isinstance(outcome, Exception)]
            _REFRESHED.inc(outcomes.count(None))

    async def _wait(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._stop.wait()
        except TimeoutError:
            pass
