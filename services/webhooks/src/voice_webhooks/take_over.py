"""Takes over what ended workers left: the newest first, a batch at a time, so that nobody waits for a backlog."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from voice_common.faults import reach
from voice_common.store.events import EventStore, StoredEvent
from voice_common.telemetry.traces import TRACES
from voice_common.times import now_ms
from voice_webhooks.telemetry import TAKEN_OVER
from voice_webhooks.workers import Ended, WorkerStore

_BATCH_EVENTS = 500
_RECENT_SECONDS = 60.0
_SETTLED_LOOK_SECONDS = 30.0


@dataclass(slots=True)
class _Pass:
    """How far the way back through a worker's events has come: all from number `before` on are projected.

    `oldest` is when the one that is projected last was received, in milliseconds.
    """

    oldest: int
    before: int | None = None
    projected: int = 0


class TakeOver:
    """Projects the events of ended workers, from their last one back to their checkpoint.

    Projection is a join, so the order is free: calls of now are exact before those of the backlog. Whoever ended
    last comes first, and each gets one batch before the next has its turn.
    """

    def __init__(
        self, project: Callable[[Sequence[StoredEvent]], Awaitable[None]], events: EventStore, workers: WorkerStore
    ) -> None:
        self._project = project
        self._events = events
        self._workers = workers
        self._passes: dict[str, _Pass] = {}
        self._looks: dict[str, tuple[float, float]] = {}

    def lag_seconds(self) -> float:
        """Give the age of the oldest event that is being taken over; 0 without any."""
        oldest = min((one.oldest for one in self._passes.values()), default=None)
        return 0.0 if oldest is None else (now_ms() - oldest) / 1000

    async def step(self, renewed: Callable[[], Awaitable[None]]) -> bool:
        """Project a batch of each ended worker; tell whether there is more. `renewed` is awaited after each batch."""
        unfinished = False
        ended_workers = await self._workers.ended()
        ids = {ended.id for ended in ended_workers}
        self._passes = {id_: one for id_, one in self._passes.items() if id_ in ids}
        self._looks = {id_: look for id_, look in self._looks.items() if id_ in ids}
        for ended in reversed(ended_workers):
            if ended.id in self._passes or self._is_due(ended):
                unfinished |= await self._advance(ended, renewed)
        return unfinished

    def _is_due(self, ended: Ended) -> bool:
        """Tell whether to look at an ended worker now: each time for its first minute, then twice a minute."""
        now = time.monotonic()
        first, last = self._looks.get(ended.id, (now, float("-inf")))
        if ended.seen >= 0 and now - first > _RECENT_SECONDS and now - last < _SETTLED_LOOK_SECONDS:
            return False
        self._looks[ended.id] = first, now
        return True

    async def _advance(self, ended: Ended, renewed: Callable[[], Awaitable[None]]) -> bool:
        """Project the next batch; begin anew whenever another of the worker's inserts has landed."""
        current = self._passes.get(ended.id)
        if current is None:
            count = await self._events.count_of_worker(ended.id, after=ended.checkpoint)
            if count == ended.seen or not await self._workers.claim(ended):
                return False
            oldest = await self._events.of_worker(ended.id, after=ended.checkpoint, limit=1)
            current = self._passes[ended.id] = _Pass(oldest[0][1].received_at if oldest else now_ms())
        found = await self._events.newest_of_worker(
            ended.id, after=ended.checkpoint, before=current.before, limit=_BATCH_EVENTS
        )
        if not found:
            await self._workers.settle(ended, seen=current.projected)
            del self._passes[ended.id]
            return False
        with TRACES.batch("projection.take_over"):
            await self._project([event for _, event in found])
        if __debug__:
            reach("projection.taken_over")
        TAKEN_OVER.inc(len(found))
        current.before, current.projected = found[-1][0], current.projected + len(found)
        await renewed()
        await self._workers.hold(ended)
        return True
