"""Documents of the read models put right: each is computed from its events alone and replaced where it differs."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pymongo import DeleteOne, ReplaceOne

from voice_common.mongo import Database, Session, in_transaction
from voice_common.store.conversations import CONVERSATIONS, VERSION, conversation_document
from voice_common.store.horizons import Horizon, horizons_of, touch_horizon
from voice_common.times import now_ms
from voice_webhooks.projection.bounds import CallTooLargeError, bounded
from voice_webhooks.projection.documents import ALIASES, DIRTY_HOURS, PARKED, figures_of, mark_document
from voice_webhooks.projection.language import is_english
from voice_webhooks.projection.projection import outlasts_its_transaction
from voice_webhooks.projection.recompute import NotComputableError, Recompute
from voice_webhooks.projection.states import RECOMPUTED_EVENTS, TooMuchRecomputedError

_NEVER = 1 << 62
Document = dict[str, Any]


class Marks:
    """Puts marks on hours whose figures changed, always new ones.

    One that is there already may be deleted by a refresh that has not seen this change.
    """

    def __init__(self, database: Database) -> None:
        self._marks = database[DIRTY_HOURS]
        self._batches = (f"{uuid.uuid4().hex}:{number}" for number in itertools.count())

    async def put(self, hours: Collection[tuple[str, int]], session: Session | None) -> None:
        """Mark hours, by tenant and start in milliseconds."""
        batch = next(self._batches)
        documents = [mark_document(tenant, hour, batch, at=now_ms()) for tenant, hour in sorted(hours)]
        if documents:
            await self._marks.insert_many(documents, ordered=False, session=session)


@dataclass(slots=True)
class _Found:
    """What a transaction found to correct; `left` are documents of newer code."""

    writes: list[DeleteOne | ReplaceOne[Document]] = field(default_factory=list)
    hours: set[tuple[str, int]] = field(default_factory=set)
    next_sealed: set[str] = field(default_factory=set)
    left: int = 0


class Corrections:
    """Corrects conversations, parked states and aliases; with `replaces_newer` also those that newer code made."""

    def __init__(self, database: Database, marks: Marks, *, replaces_newer: bool) -> None:
        self._database = database
        self._marks = marks
        self._replaces_newer = replaces_newer

    async def make(self, collection: str, keys: Sequence[Mapping[str, Any]]) -> tuple[int, int]:
        """Correct documents in one transaction, or by halves where that is too much for one.

        Gives how many were not what their events say, and how many were left to newer code.
        """

        async def body(session: Session) -> _Found:
            found = await self._look(session, collection, keys)
            for tenant in sorted(found.next_sealed):
                await touch_horizon(self._database, tenant, session=session)
            if found.writes:
                await self._database[collection].bulk_write(found.writes, ordered=False, session=session)
            await self._marks.put(found.hours, session)
            return found

        try:
            found = await in_transaction(self._database.client, body)
        except Exception as error:
            if len(keys) == 1 or not outlasts_its_transaction(error):
                raise
            middle = len(keys) // 2
            halves = [await self.make(collection, half) for half in (keys[:middle], keys[middle:])]
            return sum(corrected for corrected, _ in halves), sum(left for _, left in halves)
        return len(found.writes), found.left

    async def _look(self, session: Session, collection: str, keys: Sequence[Mapping[str, Any]]) -> _Found:
        result = _Found()
        recompute = Recompute(self._database, session)
        horizons = await horizons_of(self._database, {key["tenant"] for key in keys}, session=session)
        found = self._database[collection].find({"_id": {"$in": list(keys)}}, session=session)
        for old in [document async for document in found]:
            if recompute.events >= RECOMPUTED_EVENTS:
                raise TooMuchRecomputedError
            if old.get("version", 0) > VERSION and not self._replaces_newer:
                result.left += 1
                continue
            tenant = old["_id"]["tenant"]
            correction = await _correction(_COMPUTE[collection], recompute, old, horizons[tenant])
            if correction is None:
                continue
            new, write = correction
            result.writes.append(write)
            if any(horizons[tenant].is_sealing(start) for start in (_start_of(old), _start_of(new))):
                result.next_sealed.add(tenant)
            if collection == CONVERSATIONS:
                result.hours.update((tenant, hour) for hour in _moved(old, new))
        return result


async def _conversation(recompute: Recompute, old: Document) -> Document | None:
    tenant, name = old["_id"]["tenant"], old["_id"]["session"]
    state = await recompute.conversation(tenant, name)
    return None if state is None else conversation_document(tenant, name, state, is_english)


async def _parked(recompute: Recompute, old: Document) -> Document | None:
    tenant, stream = old["_id"]["tenant"], old["_id"]["stream"]
    parked = await recompute.parked(tenant, stream)
    return None if parked is None else parked.to_document(tenant, stream)


async def _alias(recompute: Recompute, old: Document) -> Document | None:
    tenant, id_ = old["_id"]["tenant"], old["_id"]["id"]
    alias = await recompute.alias(tenant, id_, old["sessions"], old["parked"])
    return None if alias is None else alias.to_document(tenant, id_)


_Compute = Callable[[Recompute, Document], Awaitable[Document | None]]
_COMPUTE: Mapping[str, _Compute] = {CONVERSATIONS: _conversation, PARKED: _parked, ALIASES: _alias}
"""What gives what a document should be, from what is stored beside it; ``None`` where it should not be there."""


async def _correction(
    compute: _Compute, recompute: Recompute, old: Document, horizon: Horizon
) -> tuple[Document | None, DeleteOne | ReplaceOne[Document]] | None:
    """Give what a document should be, and the write that makes it so; ``None`` where it stays as it is."""
    if _is_frozen(old, horizon):
        return None
    try:
        new = await compute(recompute, old)
        if new == old or _is_frozen(new, horizon):
            return None
        key = {"_id": old["_id"]}
        return new, DeleteOne(key) if new is None else ReplaceOne(key, bounded(new))
    except (NotComputableError, CallTooLargeError):
        return None  # events of it are set aside: it stays what the others say


def _start_of(document: Mapping[str, Any] | None) -> int:
    """Give the start that a call's or a parked state's document speaks of; the end of time where there is none."""
    start = None if document is None else document.get("state", {}).get("started_at")
    return _NEVER if start is None else int(start)


def _is_frozen(document: Mapping[str, Any] | None, horizon: Horizon) -> bool:
    return horizon.freezes(_start_of(document))


def _moved(old: Mapping[str, Any], new: Mapping[str, Any] | None) -> set[int]:
    before, after = figures_of(old), figures_of(new)
    return set() if before == after else {int(str(figures[0])) for figures in (before, after) if figures is not None}
