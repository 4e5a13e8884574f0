"""Makes the read models again from the event store, while the system runs; the result is identical.

First every event is projected once more: a join, so it adds what is missing and changes nothing else. Then each
document is computed from its events alone and replaced where it differs: that takes away what does not belong.
Sealed days, and calls whose events may be partly deleted, are left as they are.
Each step is a transaction, or several where that is too much for one, so a projection meanwhile conflicts and runs
again; and each writes down how far it came, so that a rebuild that was interrupted goes on. What newer code has made
is left to it, unless the rebuild is told to replace it: after a rollback for good nobody else would.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

import pymongo

from voice_common.mongo import Database
from voice_common.store.conversations import CONVERSATIONS
from voice_common.store.events import EventStore, event_key
from voice_common.store.horizons import horizons_of
from voice_common.store.keys import pages
from voice_common.times import HOUR_MS
from voice_webhooks.corrections import Corrections, Marks
from voice_webhooks.projection.documents import ALIASES, DIRTY_HOURS, PARKED
from voice_webhooks.projection.projection import Projection

_CHUNK = 100
Progress = Callable[[str, int], None]
_Step = Callable[[Mapping[str, str] | None], Awaitable[None]]
"""One phase, from the key after which it goes on."""


@dataclass(slots=True)
class Rebuilt:
    """What a rebuild did: events projected, documents that were not what their events say, and newer code's left."""

    events: int = 0
    corrected: dict[str, int] = field(default_factory=dict)
    left_to_newer: int = 0


class Rebuild:
    """One rebuild, of all tenants or of one; `progress` is told of each chunk's phase and size.

    The projection says whether documents of newer code are replaced by what this code makes of their events.
    """

    def __init__(self, database: Database, projection: Projection, *, tenant: str | None, progress: Progress) -> None:
        self._database = database
        self._projection = projection
        self._events = EventStore(database)
        self._prefix = {} if tenant is None else {"tenant": tenant}
        self._progress = progress
        self._meta = database["meta"]
        self._name = f"rebuild:{tenant or '*'}"
        self._marks = Marks(database)
        self.result = Rebuilt()

    async def run(self, *, restart: bool = False) -> Rebuilt:
        """Rebuild; go on where an interrupted one stopped unless `restart`."""
        if restart:
            await self._meta.delete_one({"_id": self._name})
        phases: dict[str, _Step] = {
            "events": self._project_events,
            **{collection: partial(self._correct, collection) for collection in (CONVERSATIONS, PARKED, ALIASES)},
            DIRTY_HOURS: self._mark_hours,
        }
        for phase, step in phases.items():
            state = await self._meta.find_one({"_id": self._name}) or {"done": []}
            if phase not in state["done"]:
                await step(state.get("after"))
                await self._meta.update_one(
                    {"_id": self._name}, {"$push": {"done": phase}, "$unset": {"after": ""}}, upsert=True
                )
        await self._meta.delete_one({"_id": self._name})
        return self.result

    async def _came_to(self, key: Mapping[str, str], phase: str, size: int) -> None:
        await self._meta.update_one(
            {"_id": self._name}, {"$set": {"after": key}, "$setOnInsert": {"done": []}}, upsert=True
        )
        self._progress(phase, size)

    async def _project_events(self, after: Mapping[str, str] | None) -> None:
        async for page in self._events.scan(self._prefix, after=after):
            await self._projection.project_again(page)
            self.result.events += len(page)
            last = page[-1]
            await self._came_to(event_key(last.tenant, last.stream, last.event), "events", len(page))

    async def _correct(self, collection: str, after: Mapping[str, str] | None) -> None:
        """Replace each document of a collection that is not what its events say; one that comes to nothing goes."""
        corrections = Corrections(self._database, self._marks, replaces_newer=self._projection.replaces_newer)
        async for page in pages(self._database[collection], self._prefix, after=after, size=_CHUNK, keys_only=True):
            corrected, left = await corrections.make(collection, [entry["_id"] for entry in page])
            self.result.corrected[collection] = self.result.corrected.get(collection, 0) + corrected
            self.result.left_to_newer += left
            await self._came_to(page[-1]["_id"], collection, len(page))

    async def _mark_hours(self, _after: Mapping[str, str] | None) -> None:
        """Mark every hour that has a conversation or a rollup, so that the rollups are made again too."""
        match = {f"_id.{name}": value for name, value in self._prefix.items()}
        hour = {"$subtract": ["$started_at", {"$mod": ["$started_at", HOUR_MS]}]}
        group = {"$group": {"_id": {"tenant": "$_id.tenant", "hour": hour}}}
        with pymongo.timeout(None):  # one pass over an index, however long that is
            cursor = await self._database[CONVERSATIONS].aggregate([{"$match": match}, group])
            marks = {(found["_id"]["tenant"], int(found["_id"]["hour"])) async for found in cursor}
        async for page in pages(self._database["rollups"], self._prefix, size=1000, keys_only=True):
            marks |= {
                (rollup["_id"]["tenant"], rollup["_id"]["day"] + hour * HOUR_MS)
                for rollup in page
                if rollup["_id"]["day"] >= 0  # else it is none of a day, but says that there are some
                for hour in range(24)
            }
        horizons = await horizons_of(self._database, {tenant for tenant, _ in marks})
        marks = {(tenant, hour) for tenant, hour in marks if not horizons[tenant].seals(hour)}
        await self._marks.put(marks, None)
        self._progress(DIRTY_HOURS, len(marks))
