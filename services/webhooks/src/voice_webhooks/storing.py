"""Stores events that come by another way than the intake: durably, each once, and projected at once.

Whoever does so is a worker like any other: what it stored and did not project, because it ended, another one projects.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

from voice_common.faults import reach
from voice_common.mongo import Database
from voice_common.store.events import DUPLICATE, EventStore, StoredEvent
from voice_webhooks.projection.projection import Projection
from voice_webhooks.workers import Registration, WorkerStore

BATCH_EVENTS = 256
BATCH_BYTES = 8 * 1024 * 1024


class Storing:
    """A worker for as long as its context lasts; `store` takes at most `BATCH_EVENTS` or `BATCH_BYTES` at a time."""

    def __init__(self, database: Database, projection: Projection) -> None:
        self._events = EventStore(database)
        self._workers = WorkerStore(database)
        self._registration = Registration(self._workers)
        self._projection = projection

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: object, *_: object) -> None:
        registration = self._registration
        if kind is None and registration.id and registration.is_certain:
            await self._workers.forget(registration.id)  # all of it is projected
            registration.id = ""
        registration.retire()
        for worker in registration.retired:
            await self._workers.end(worker)  # whatever is left, another worker projects at once

    async def store(self, events: Sequence[StoredEvent]) -> list[int | None]:
        """Make events durable and project those that are new.

        Gives for each ``None`` where it was stored, else why not: `DUPLICATE`, or another code of the server's.
        """
        while not self._registration.is_certain:
            await self._registration.renew(0)
        worker, first = self._registration.id, self._registration.next_numbers(len(events))
        refused = await self._events.insert([event.to_document(worker, first + n) for n, event in enumerate(events)])
        if __debug__:
            reach("storing.stored")
        new = [event for place, event in enumerate(events) if place not in refused]
        if new:
            await self._projection.project(new)
        if self._registration.id == worker:
            await self._registration.renew(first + len(events) - 1)
        return [refused.get(place) for place in range(len(events))]


def is_stored(outcome: int | None) -> bool:
    """Tell whether an event is in the store, by what `Storing.store` gave for it."""
    return outcome is None or outcome == DUPLICATE
