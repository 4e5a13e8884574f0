"""Makes the read models again from the event store, while the system runs; the result is identical.

First every event is projected once more: a join, so it adds what is missing and changes nothing else. Then each
document is computed from its events alone and replaced where it differs: that takes away what does not belong.
Sealed days, and calls whose events may be partly deleted, are left as they are.
Each step is a transaction, so a projection meanwhile conflicts and runs again; and each writes down how far it
came, so that a rebuild that was interrupted goes on.
"""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pymongo
from pymongo import DeleteOne, ReplaceOne

from voice_common.mongo import Database, Session, in_transaction
from voice_common.store.conversations import CONVERSATIONS, conversation_document
from voice_common.store.events import EventStore, event_key
from voice_common.store.horizons import Horizon, horizons_of, touch_horizon
from voice_common.store.keys import pages
from voice_common.times import HOUR_MS, now_ms
from voice_webhooks.projection.bounds import CallTooLargeError, bounded
from voice_webhooks.projection.documents import ALIASES, DIRTY_HOURS, PARKED, figures_of, mark_document
from voice_webhooks.projection.recompute import NotComputableError, Recompute
from voice_webhooks.projector import Projection

_CHUNK = 100
_NEVER = 1 << 62
Progress = Callable[[str, int], None]
Compute = Callable[[Session, dict[str, Any]], Awaitable[dict[str, Any] | None]]
"""Gives what a document should be, from what is stored beside it; ``None`` where it should not be there."""


@dataclass(slots=True)
class Rebuilt:
    """What a rebuild did: events projected, and documents that were not what their events say."""

    events: int = 0
    corrected: dict[str, int] = field(default_factory=dict)


class Rebuild:
    """One rebuild, of all tenants or of one; `progress` is told of each chunk's phase and size."""

    def __init__(self, database: Database, projection: Projection, *, tenant: str | None, progress: Progress) -> None:
        self._database = database
        self._projection = projection
        self._events = EventStore(database)
        self._prefix = {} if tenant is None else {"tenant": tenant}
        self._progress = progress
        self._meta = database["meta"]
        self._name = f"rebuild:{tenant or '*'}"
        self._batches = (f"{uuid.uuid4().hex}:{number}" for number in itertools.count())
        self.result = Rebuilt()

    async def run(self, *, restart: bool = False) -> Rebuilt:
        """Rebuild; go on where an interrupted one stopped unless `restart`."""
        if restart:
            await self._meta.delete_one({"_id": self._name})
        for phase, step in (
            ("events", self._project_events),
            (CONVERSATIONS, self._correct_conversations),
            (PARKED, self._correct_parked),
            (ALIASES, self._correct_aliases),
            (DIRTY_HOURS, self._mark_hours),
        ):
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

    async def _correct_conversations(self, after: Mapping[str, str] | None) -> None:
        await self._correct(CONVERSATIONS, after, self._conversation)

    async def _correct_parked(self, after: Mapping[str, str] | None) -> None:
        await self._correct(PARKED, after, self._parked)

    async def _correct_aliases(self, after: Mapping[str, str] | None) -> None:
        await self._correct(ALIASES, after, self._alias)

    async def _correct(
        self,
        collection: str,
        after: Mapping[str, str] | None,
        compute: Compute,
    ) -> None:
        """Replace each document of a collection that is not what `compute` gives; one that comes to nothing goes."""
        target = self._database[collection]
        async for page in pages(target, self._prefix, after=after, size=_CHUNK, keys_only=True):

            async def body(session: Session, page: Sequence[dict[str, Any]] = page) -> int:
                writes: list[Any] = []
                marks: set[tuple[str, int]] = set()
                next_sealed: set[str] = set()
                horizons = await horizons_of(
                    self._database, {entry["_id"]["tenant"] for entry in page}, session=session
                )
                found = target.find({"_id": {"$in": [entry["_id"] for entry in page]}}, session=session)
                for old in [document async for document in found]:
                    tenant = old["_id"]["tenant"]
                    correction = await _correction(compute, session, old, horizons[tenant])
                    if correction is None:
                        continue
                    new, write = correction
                    writes.append(write)
                    if any(horizons[tenant].is_next(start) for start in (_start_of(old), _start_of(new))):
                        next_sealed.add(tenant)
                    if collection == CONVERSATIONS:
                        marks |= {(tenant, hour) for hour in _moved(old, new)}
                for tenant in sorted(next_sealed):
                    await touch_horizon(self._database, tenant, session=session)
                if writes:
                    await target.bulk_write(writes, ordered=False, session=session)
                await self._mark(marks, session)
                return len(writes)

            corrected = await in_transaction(self._database.client, body)
            self.result.corrected[collection] = self.result.corrected.get(collection, 0) + corrected
            await self._came_to(page[-1]["_id"], collection, len(page))

    async def _conversation(self, session: Session, old: dict[str, Any]) -> dict[str, Any] | None:
        tenant, name = old["_id"]["tenant"], old["_id"]["session"]
        state = await Recompute(self._database, session).conversation(tenant, name)
        return None if state is None else conversation_document(tenant, name, state)

    async def _parked(self, session: Session, old: dict[str, Any]) -> dict[str, Any] | None:
        tenant, stream = old["_id"]["tenant"], old["_id"]["stream"]
        parked = await Recompute(self._database, session).parked(tenant, stream)
        return None if parked is None else parked.to_document(tenant, stream)

    async def _alias(self, session: Session, old: dict[str, Any]) -> dict[str, Any] | None:
        tenant, id_ = old["_id"]["tenant"], old["_id"]["id"]
        alias = await Recompute(self._database, session).alias(tenant, id_, old["sessions"], old["parked"])
        return None if alias is None else alias.to_document(tenant, id_)

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
                for hour in range(24)
            }
        horizons = await horizons_of(self._database, {tenant for tenant, _ in marks})
        marks = {(tenant, hour) for tenant, hour in marks if not horizons[tenant].seals(hour)}
        await self._mark(marks, None)
        self._progress(DIRTY_HOURS, len(marks))

    async def _mark(self, marks: set[tuple[str, int]], session: Session | None) -> None:
        # A mark that is there already may be deleted by a refresh that has not seen this change: always a new one.
        batch = next(self._batches)
        documents = [mark_document(tenant, hour, batch, at=now_ms()) for tenant, hour in sorted(marks)]
        if documents:
            await self._database[DIRTY_HOURS].insert_many(documents, ordered=False, session=session)


async def _correction(
    compute: Compute, session: Session, old: dict[str, Any], horizon: Horizon
) -> tuple[dict[str, Any] | None, DeleteOne | ReplaceOne[Any]] | None:
    """Give what a document should be, and the write that makes it so; ``None`` where it stays as it is."""
    if _is_frozen(old, horizon):
        return None
    try:
        new = await compute(session, old)
        if new == old or _is_frozen(new, horizon):
            return None
        key = {"_id": old["_id"]}
        return new, DeleteOne(key) if new is None else ReplaceOne(key, bounded(new))
    except (NotComputableError, CallTooLargeError):
        return None  # events of it are set aside: it stays what the others say


def _start_of(document: Mapping[str, Any] | None) -> int:
    """Give the start that a call's or a parked state's document speaks of; the end of time where there is none."""
    return _NEVER if document is None or "state" not in document else document["state"]["started_at"]


def _is_frozen(document: Mapping[str, Any] | None, horizon: Horizon) -> bool:
    return horizon.freezes(_start_of(document))


def _moved(old: Mapping[str, Any], new: Mapping[str, Any] | None) -> set[int]:
    before, after = figures_of(old), figures_of(new)
    return set() if before == after else {int(str(figures[0])) for figures in (before, after) if figures is not None}
