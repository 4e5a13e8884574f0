"""Projects what the intake stored, in the order of its numbers; looks after its lease, and after ended workers."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import deque
from collections.abc import Sequence

import structlog
from pymongo.errors import PyMongoError

from voice_common.background import Background
from voice_common.cancellation import end
from voice_common.store.events import EventStore
from voice_common.telemetry.failures import name_of
from voice_common.telemetry.tally import TALLY
from voice_common.telemetry.traces import TRACES
from voice_webhooks.intake import Numbered
from voice_webhooks.projection.language import load
from voice_webhooks.projection.projection import Projection
from voice_webhooks.take_over import TakeOver
from voice_webhooks.telemetry import DELAY_SECONDS, LAG_SECONDS
from voice_webhooks.workers import RENEWAL_SECONDS, Registration, WorkerStore

_BATCH_EVENTS = 1000
_BATCH_BYTES = 8 * 1024 * 1024
_HELD_EVENTS = 20_000
_HELD_BYTES = 64 * 1024 * 1024
_PAUSE_SECONDS = 0.25
_log = structlog.get_logger("voice.projector")

Pending = tuple[str, Numbered, float]
"""A worker, an event of it with its number, and since when it waits (`time.monotonic`)."""


class Projector:
    """One worker's projector: its own events as they are committed, and what ended workers left.

    The checkpoint is the highest number below which all of this worker's events are projected. Where more waits than
    memory may hold, this worker goes on under a new id and its remainder is an ended worker's, projected from the
    newest back: what comes in now is exact soon, however much waits.
    """

    def __init__(
        self, projection: Projection, events: EventStore, workers: WorkerStore, registration: Registration
    ) -> None:
        self._projection = projection
        self._ended = TakeOver(projection.project, events, workers)
        self._workers = workers
        self._registration = registration
        self._pending: deque[Pending] = deque()
        self._pending_bytes = 0
        self._checkpoints: dict[str, int] = {}
        self._arrived = asyncio.Event()
        self._closing = False
        self._tasks: list[asyncio.Task[None]] = []

    def committed(self, worker: str, events: Sequence[Numbered]) -> None:
        """Take note of events that are durable now."""
        if not events:
            return
        held = self._pending_bytes + sum([len(event.body) for _, event in events])
        if len(self._pending) + len(events) > _HELD_EVENTS or held > _HELD_BYTES:
            _log.warning("projection is behind: what waits is left to the take-over", events=len(self._pending))
            self._pending.clear()  # all of it is of ids that are retired, this one included
            self._pending_bytes = 0
            self._registration.retire()
            return
        now = time.monotonic()
        self._pending.extend((worker, numbered, now) for numbered in events)
        self._pending_bytes = held
        self._arrived.set()

    @property
    def checkpoint(self) -> int:
        """Give the highest number below which all events of this worker's present id are projected."""
        return self._checkpoints.get(self._registration.id, 0)

    def start(self, background: Background | None = None) -> None:
        """Begin to project, to renew the lease and to look for ended workers."""
        background = background or Background()
        self._tasks = [
            background.keep("projection", self._run, needed=True),
            background.keep("lease", self._keep, needed=True),
        ]

    async def drain(self) -> None:
        """Project what is committed, write the checkpoint and stop."""
        self._closing = True
        self._arrived.set()
        own, keeper = self._tasks
        await own
        await end([keeper])
        await self._give_up_retired()
        if self._registration.id and self._registration.is_certain:
            await self._workers.forget(self._registration.id)

    async def _run(self) -> None:
        await asyncio.to_thread(load)
        while True:
            if not self._pending and not self._closing:
                await self._arrived.wait()
            self._arrived.clear()
            while self._pending:
                try:
                    await self._step()
                except PyMongoError as error:
                    _log.warning("projection failed", error=type(error).__name__)
                    await asyncio.sleep(_PAUSE_SECONDS)
                self._measure()
            self._measure()
            if self._closing:
                return

    async def _step(self) -> None:
        batch = self._next_batch()
        with TRACES.batch("projection", (event.origin for _, (_, event), _ in batch)):
            await self._projection.project([event for _, (_, event), _ in batch])
        now = time.monotonic()
        for entry in batch:
            worker, (seq, event), since = entry
            if self._pending and self._pending[0] is entry:  # else it was left to the take-over meanwhile
                self._pending.popleft()
                self._pending_bytes -= len(event.body)
            self._checkpoints[worker] = seq
            TALLY.observe(DELAY_SECONDS, now - since)

    def _next_batch(self) -> list[Pending]:
        batch, size = list[Pending](), 0
        for entry in itertools.islice(self._pending, _BATCH_EVENTS):
            size += len(entry[1][1].body)
            if batch and size > _BATCH_BYTES:
                break
            batch.append(entry)
        return batch

    def _measure(self) -> None:
        own = time.monotonic() - self._pending[0][2] if self._pending else 0.0
        LAG_SECONDS.set(max(0.0, own, self._ended.lag_seconds()))

    async def _keep(self) -> None:
        while True:
            unfinished = False
            try:
                await self._renew()
                await self._give_up_retired()
                unfinished = await self._ended.step(self._renew)
            except PyMongoError as error:
                _log.warning("lease not renewed or nothing taken over", error=name_of(error))
            self._measure()
            await asyncio.sleep(0 if unfinished else RENEWAL_SECONDS)

    async def _renew(self) -> None:
        if not self._registration.id or not self._registration.is_certain:
            self._checkpoints.clear()
        await self._registration.renew(self.checkpoint)

    async def _give_up_retired(self) -> None:
        while self._registration.retired:
            await self._workers.end(self._registration.retired[0])
            self._registration.retired.pop(0)
