"""Projects what the intake stored, in the order of its numbers; looks after its lease, and after ended workers."""

from __future__ import annotations

import asyncio
import itertools
import time
import uuid
from collections import deque
from collections.abc import Sequence

import structlog
from pymongo.errors import OperationFailure, PyMongoError

from voice_common.cancellation import end
from voice_common.faults import reach
from voice_common.mongo import Database, Session, in_transaction, is_passing
from voice_common.store.events import EventStore, StoredEvent
from voice_common.telemetry.tally import TALLY
from voice_common.telemetry.traces import TRACES
from voice_common.times import now_ms
from voice_webhooks.directory import CachedDirectory
from voice_webhooks.intake import Numbered
from voice_webhooks.projection.apply import Batch, NewerVersionError
from voice_webhooks.projection.contributions import Contribution, contributions_of
from voice_webhooks.set_aside import SetAside
from voice_webhooks.take_over import TakeOver
from voice_webhooks.telemetry import DELAY_SECONDS, LAG_SECONDS, PROJECTED, SET_ASIDE
from voice_webhooks.workers import RENEWAL_SECONDS, Registration, WorkerStore

_BATCH_EVENTS = 1000
_BATCH_BYTES = 8 * 1024 * 1024
_HELD_EVENTS = 20_000
_HELD_BYTES = 64 * 1024 * 1024
_TRANSACTION_SECONDS = 8.0
_PAUSE_SECONDS = 0.25
_REFUSALS = frozenset({13, 18, 14031})
"""Unauthorized, AuthenticationFailed, OutOfDiskSpace: every event would meet them."""
_log = structlog.get_logger("voice.projector")

Pending = tuple[str, Numbered, float]
"""A worker, an event of it with its number, and since when it waits (`time.monotonic`)."""


class Projection:
    """Turns stored events into read models; safe to repeat, in any order, by any number of processes."""

    def __init__(self, database: Database, directory: CachedDirectory) -> None:
        self._database = database
        self._directory = directory
        self._set_aside = SetAside(database)
        self._name = uuid.uuid4().hex
        self._batches = itertools.count()

    async def project(self, events: Sequence[StoredEvent]) -> None:
        """Apply events in one transaction; one that can't be applied is set aside with its error, the rest goes on.

        Raises `PyMongoError` where the store does not take the transaction and `NewerVersionError` where newer
        code has been at work; nothing is applied then.
        """
        try:
            await self._apply(await contributions_of(await self._of_living(events)))
        except Exception as error:
            if _is_passing(error):
                raise
            await self._apart(events, error)
        else:
            PROJECTED.inc(len(events))

    async def project_again(self, events: Sequence[StoredEvent]) -> None:
        """Apply events that may have been set aside; those that can be applied now are not aside any more."""
        begun = now_ms()
        await self.project(events)
        await self._set_aside.settle(events, before=begun)

    async def _of_living(self, events: Sequence[StoredEvent]) -> list[StoredEvent]:
        """Leave out the events of tenants that were deleted: their data is on its way out."""
        directory = await self._directory.current()
        if any(event.tenant not in directory.tenants for event in events):
            directory = await self._directory.fresh()  # a tenant may be newer than the copy
        return [event for event in events if event.tenant in directory.tenants]

    async def _apart(self, events: Sequence[StoredEvent], error: Exception) -> None:
        """Find the events that can't be applied by halving the batch, and set them aside."""
        if len(events) > 1:
            middle = len(events) // 2
            await self.project(events[:middle])
            await self.project(events[middle:])
            return
        (event,) = events
        _log.error("event set aside", tenant=event.tenant, event_id=event.event, type=event.type, error=repr(error))
        SET_ASIDE.inc()
        await self._set_aside.keep(event, error)

    async def _apply(self, contributions: Sequence[Contribution]) -> None:
        if not contributions:
            return
        name = f"{self._name}:{next(self._batches)}"

        async def body(session: Session) -> None:
            await Batch(self._database, session, name).apply(contributions)
            if __debug__:
                reach("projection.written")

        if __debug__:
            reach("projection.begun")
        await in_transaction(self._database.client, body, seconds=_TRANSACTION_SECONDS)
        if __debug__:
            reach("projection.committed")


def _is_passing(error: Exception) -> bool:
    """Tell whether the store or a deployment, and not an event, is why a transaction failed."""
    return (
        isinstance(error, NewerVersionError)
        or is_passing(error)
        or (isinstance(error, OperationFailure) and error.code in _REFUSALS)
    )


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

    def start(self) -> None:
        """Begin to project, to renew the lease and to look for ended workers."""
        self._tasks = [asyncio.create_task(self._run()), asyncio.create_task(self._keep())]

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
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            while self._pending:
                try:
                    await self._step()
                except (PyMongoError, NewerVersionError) as error:
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
            except (PyMongoError, NewerVersionError) as error:
                _log.warning("lease not renewed or nothing taken over", error=repr(error))
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
