"""Group commit: while one insert is under way, arriving events gather; they go as the next batch.

No timer and no added wait: a lone event goes at once. Each caller is answered when its own event is durable
(majority, journaled).
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from enum import StrEnum

import structlog
from pymongo.errors import PyMongoError

from voice_common.background import Background
from voice_common.deadlines import Deadlines
from voice_common.errors import Unavailable
from voice_common.faults import reach
from voice_common.mongo import Database
from voice_common.store.envelope import Envelope
from voice_common.store.events import DUPLICATE, EventStore, StoredEvent
from voice_common.telemetry.traces import TRACES
from voice_webhooks.contribution.transcripts import is_partial
from voice_webhooks.telemetry import BATCH_EVENTS, COMMIT_SECONDS, QUEUED_EVENTS
from voice_webhooks.workers import Registration

_BATCH_EVENTS = 256
_BATCH_BYTES = 8 * 1024 * 1024
_TICK_SECONDS = 0.05
ANSWER_SECONDS = 1.2
"""Telnyx may wait for only 2 s, the contract says 1.5 s, and the gateway needs some of it."""

_log = structlog.get_logger("voice.intake")


class Stored(StrEnum):
    """What became of an event."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"


Numbered = tuple[int, StoredEvent]
Committed = Callable[[str, Sequence[Numbered]], None]
Waiting = tuple[StoredEvent, "asyncio.Future[Stored]"]


def event_of(tenant: str, envelope: Envelope, key: str, body: bytes, *, received_at: int) -> StoredEvent:
    """Make the event that `tenant` is to have, of a body that was read and that `key` verified."""
    return StoredEvent(
        tenant,
        envelope.stream,
        envelope.event,
        envelope.type,
        envelope.occurred_at,
        received_at,
        key,
        body,
        is_partial(envelope),
        envelope,
        TRACES.origin(),
    )


class Intake:
    """Makes events durable, many with one insert; `committed` is told what is new, by worker id and number."""

    def __init__(
        self, database: Database, registration: Registration, committed: Committed, *, max_events: int, max_bytes: int
    ) -> None:
        self._events = EventStore(database)
        self._registration = registration
        self._committed = committed
        self._max_events = max_events
        self._max_bytes = max_bytes
        self._queue: deque[Waiting] = deque()
        # One timer for all who wait: a time-out of its own for each request costs more than its share of the commit.
        self._deadlines = Deadlines(_refuse_overdue, tick=_TICK_SECONDS)
        self._bytes = 0
        self._arrived = asyncio.Event()
        self._closing = False
        self._task: asyncio.Task[None] | None = None

    def start(self, background: Background | None = None) -> None:
        """Begin to commit."""
        self._task = (background or Background()).keep("intake", self._run, needed=True)

    async def drain(self) -> None:
        """Commit what is queued and stop; what is submitted from now on is refused."""
        self._closing = True
        self._arrived.set()
        if self._task is not None:
            await self._task

    async def submit(self, event: StoredEvent) -> Stored:
        """Make one event durable.

        Raises `Unavailable` where the queue is full, the store is down or the outcome is uncertain, and when that is
        not known within `ANSWER_SECONDS`. The commit goes on when the caller leaves.
        """
        if self._closing or len(self._queue) >= self._max_events or self._bytes >= self._max_bytes:
            raise Unavailable("The intake is full")
        outcome: asyncio.Future[Stored] = asyncio.get_running_loop().create_future()
        self._queue.append((event, outcome))
        self._bytes += len(event.body)
        self._arrived.set()
        self._deadlines.set(outcome, asyncio.get_running_loop().time() + ANSWER_SECONDS)
        try:
            return await outcome
        finally:
            self._deadlines.forget(outcome)

    async def _run(self) -> None:
        while True:
            if not self._queue and not self._closing:
                await self._arrived.wait()
            self._arrived.clear()
            while self._queue:
                batch = self._next_batch()
                try:
                    await self._commit(batch)
                except PyMongoError as error:
                    # Nobody knows what became of the batch. Whoever waits is told to send it again; what did
                    # land is found under the worker's old id and projected from there.
                    _log.warning("commit failed", events=len(batch), error=type(error).__name__)
                    self._registration.retire()
                    _refuse(batch)
                except Exception:  # noqa: BLE001 - a batch that can not be sent must not end the intake
                    _log.exception("commit failed")
                    self._registration.retire()
                    _refuse(batch)
            QUEUED_EVENTS.set(0)
            if self._closing:
                return

    def _next_batch(self) -> list[Waiting]:
        QUEUED_EVENTS.set(len(self._queue))
        batch: list[Waiting] = []
        size = 0
        while self._queue and len(batch) < _BATCH_EVENTS and size < _BATCH_BYTES:
            waiting = self._queue.popleft()
            size += len(waiting[0].body)
            if not waiting[1].done():  # its caller may have left meanwhile: then Telnyx sends it again
                batch.append(waiting)
        self._bytes -= size
        return batch

    async def _commit(self, batch: list[Waiting]) -> None:
        if not batch:
            return
        while not self._registration.is_certain:
            await self._registration.renew(0)
        worker = self._registration.id
        first = self._registration.next_numbers(len(batch))
        numbered = [(first + place, event) for place, (event, _) in enumerate(batch)]
        if __debug__:
            reach("intake.numbered")
        started = time.perf_counter()
        with TRACES.batch("intake.commit", (event.origin for _, event in numbered)):
            errors = await self._events.insert([event.to_document(worker, seq) for seq, event in numbered])
        if __debug__:
            reach("intake.inserted")
        COMMIT_SECONDS.observe(time.perf_counter() - started)
        BATCH_EVENTS.observe(len(batch))
        self._committed(worker, [entry for place, entry in enumerate(numbered) if place not in errors])
        for place, (_, outcome) in enumerate(batch):
            if outcome.done():
                continue
            if place not in errors:
                outcome.set_result(Stored.ACCEPTED)
            elif errors[place] == DUPLICATE:
                outcome.set_result(Stored.DUPLICATE)
            else:
                outcome.set_exception(Unavailable("The event could not be stored"))


def _refuse_overdue(outcome: asyncio.Future[Stored]) -> None:
    """Answer who has waited for as long as it can; what becomes of the event is projected all the same."""
    if not outcome.done():
        outcome.set_exception(Unavailable("The webhook could not be stored in time"))


def _refuse(batch: list[Waiting]) -> None:
    for _, outcome in batch:
        with suppress(asyncio.InvalidStateError):
            outcome.set_exception(Unavailable("The event store can't be reached"))
            outcome.exception()  # its caller may have left; nobody has to look at it
