"""The collection ``workers``: who stores events, for how long that is certain, and how far they are projected.

Leases run by the store's clock for others and by the monotonic clock for the worker itself, counted from before
its renewal was sent; so a worker stops trusting its lease before anyone else may take its work over.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass

from voice_common.mongo import Database
from voice_common.store.indexes import ensure_index

LEASE_SECONDS = 5.0
RENEWAL_SECONDS = 1.0
_REMEMBERED_SECONDS = 86_400.0
_MARGIN_SECONDS = 0.5
_WORKERS = "workers"
_LEASE = {"$dateAdd": {"startDate": "$$NOW", "unit": "millisecond", "amount": int(LEASE_SECONDS * 1000)}}


@dataclass(frozen=True, slots=True)
class Ended:
    """A worker whose lease ran out: all its events up to `checkpoint` are projected.

    `seen` is how many events after the checkpoint were there when all of them had been projected, or -1: an
    insert of a worker that was paused can still land, and then the count differs.
    """

    id: str
    checkpoint: int
    seen: int


class WorkerStore:
    """Leases and checkpoints of the workers."""

    def __init__(self, database: Database) -> None:
        self._workers = database[_WORKERS]

    async def create_indexes(self) -> None:
        """Make the index by which ended workers are found; safe to repeat."""
        await ensure_index(self._workers, "lease_until", name="by_lease")

    async def renew(self, worker: str, checkpoint: int) -> None:
        """Extend a worker's lease, registering it at the first call, and write its checkpoint."""
        fields = {"lease_until": _LEASE, "checkpoint": {"$max": ["$checkpoint", checkpoint]}, "seen": -1}
        await self._workers.update_one({"_id": worker}, [{"$set": fields}], upsert=True)

    async def end(self, worker: str) -> None:
        """Let a worker's lease run out now."""
        await self._workers.update_one({"_id": worker}, [{"$set": {"lease_until": "$$NOW"}}])

    async def forget(self, worker: str) -> None:
        """Remove a worker all of whose events are projected, and none of whose inserts is under way."""
        await self._workers.delete_one({"_id": worker})

    async def ended(self) -> list[Ended]:
        """Give the workers whose lease ran out; those of more than a day ago are forgotten."""
        too_old = {"$dateSubtract": {"startDate": "$$NOW", "unit": "second", "amount": int(_REMEMBERED_SECONDS)}}
        await self._workers.delete_many({"seen": {"$gte": 0}, "$expr": {"$lt": ["$lease_until", too_old]}})
        found = self._workers.find({"$expr": {"$lte": ["$lease_until", "$$NOW"]}}).sort("lease_until", 1)
        return [Ended(document["_id"], document["checkpoint"], document["seen"]) async for document in found]

    async def checkpoints(self) -> dict[str, int]:
        """Give the number of each worker that is not forgotten up to which all of its events are projected."""
        return {document["_id"]: document["checkpoint"] async for document in self._workers.find({}, {"checkpoint": 1})}

    async def claim(self, worker: Ended) -> bool:
        """Take an ended worker's remainder for `LEASE_SECONDS`; tell whether nobody else has it now."""
        free = {"_id": worker.id, "$expr": {"$not": {"$gt": ["$taken_until", "$$NOW"]}}}
        claimed = await self._workers.update_one(free, [{"$set": {"taken_until": _LEASE}}])
        return claimed.modified_count == 1

    async def hold(self, worker: Ended) -> None:
        """Keep what `claim` took for another `LEASE_SECONDS`."""
        await self._workers.update_one({"_id": worker.id}, [{"$set": {"taken_until": _LEASE}}])

    async def settle(self, worker: Ended, *, seen: int) -> None:
        """Remember how many events after its checkpoint an ended worker has, all of them projected."""
        await self._workers.update_one(
            {"_id": worker.id, "checkpoint": worker.checkpoint}, {"$set": {"seen": seen}, "$unset": {"taken_until": ""}}
        )


class Registration:
    """This process as a worker: an id under which it may store events while its lease lasts."""

    def __init__(self, workers: WorkerStore, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._workers = workers
        self._clock = clock
        self._certain_until = float("-inf")
        self.id = ""
        self.retired: list[str] = []
        self._seq = 0
        self._renewing = asyncio.Lock()
        self._retirements = 0

    @property
    def is_certain(self) -> bool:
        """Tell whether nobody can have taken this worker's events over."""
        return self._clock() < self._certain_until

    def next_numbers(self, count: int) -> int:
        """Take `count` sequence numbers; give the first."""
        first = self._seq + 1
        self._seq += count
        return first

    async def renew(self, checkpoint: int) -> None:
        """Extend the lease, or take a new id where it may have run out."""
        async with self._renewing:
            if not self.is_certain:
                self.retire()
            renewed, checkpoint = (self.id, checkpoint) if self.id else (uuid.uuid4().hex, 0)
            retirements, asked_at = self._retirements, self._clock()
            await self._workers.renew(renewed, checkpoint)
            if self._retirements != retirements:
                # What was renewed was retired meanwhile: it must not come back to life with numbers used before.
                self.retired.append(renewed)
                return
            if self.id != renewed:  # only now is the id known to the store: no event may carry it any earlier
                self.id, self._seq = renewed, 0
            self._certain_until = asked_at + LEASE_SECONDS - _MARGIN_SECONDS

    def retire(self) -> None:
        """Store nothing more under this id: what became of its last insert is not known, or its lease is over."""
        if self.id:
            self.retired.append(self.id)
        self.id, self._certain_until = "", float("-inf")
        self._retirements += 1
