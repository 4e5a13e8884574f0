"""Applies a batch of contributions to the read models, in the session of one snapshot transaction."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Iterable
from typing import Any

from pymongo import InsertOne, ReplaceOne
from pymongo.asynchronous.collection import AsyncCollection

from voice_common.mongo import Database, Session
from voice_common.store.conversations import CONVERSATIONS, VERSION, conversation_document, conversation_key
from voice_common.store.envelope import session_of
from voice_common.store.state import CallState
from voice_webhooks.projection.contributions import Contribution
from voice_webhooks.projection.documents import ALIASES, DIRTY_HOURS, PARKED, Alias, Parked, figures_of
from voice_webhooks.projection.recompute import Recompute

Key = tuple[str, str]
"""A tenant and a session, stream or foreign id of it."""


class NewerVersionError(Exception):
    """A document was made by newer code: it is for workers of that code to go on with it."""


class Batch:
    """One batch: reads what it touches, joins, ties parked streams to sessions, writes what changed.

    Every read that decides something is of a document that is written where the decision changes it, so that
    snapshot isolation is enough: a transaction that decided on a stale read conflicts and runs again.
    """

    def __init__(self, database: Database, session: Session, name: str) -> None:
        self._database = database
        self._session = session
        self._name = name
        self._calls: dict[Key, CallState] = {}
        self._call_documents: dict[Key, dict[str, Any] | None] = {}
        self._parked: dict[Key, Parked] = {}
        self._aliases: dict[Key, Alias] = {}
        self._changed_parked: set[Key] = set()
        self._changed_aliases: set[Key] = set()
        self._announced: dict[Key, frozenset[str]] = {}

    async def apply(self, contributions: Iterable[Contribution]) -> None:
        """Join all contributions into the read models and mark the hours whose figures change."""
        calls, parked = _partials(contributions)
        await self._load_calls(calls)
        await self._load_parked(parked)
        for key, state in calls.items():
            self._join_call(key, state)
        for key, state in parked.items():
            await self._join_parked(key, state)
        await self._tie_news()
        await self._write()

    async def refresh(self, calls: Collection[Key], parked: Collection[Key]) -> None:
        """Write documents again that older code made."""
        await self._load_calls(calls)
        await self._load_parked(parked)
        self._changed_parked.update(parked)
        await self._tie_news()
        await self._write()

    async def _tie_news(self) -> None:
        while news := self._news():
            await self._load_aliases({(tenant, id_) for (tenant, _), ids in news.items() for id_ in ids})
            for key, ids in news.items():
                await self._announce(key, ids)

    def _join_call(self, key: Key, state: CallState) -> None:
        self._calls[key] = self._calls[key].join(state) if key in self._calls else state

    async def _join_parked(self, key: Key, state: CallState) -> None:
        known = self._parked.get(key)
        joined = state if known is None else known.state.join(state)
        if known is not None and joined == known.state:
            return
        self._parked[key] = Parked(joined, set() if known is None else known.sessions)
        self._changed_parked.add(key)
        tied = {(key[0], session) for session in self._parked[key].sessions}
        await self._load_calls(tied)
        for call in tied:
            self._join_call(call, joined)

    def _news(self) -> dict[Key, frozenset[str]]:
        """Give the foreign ids, by ``(tenant, stream)``, that this batch brought and no alias was told of yet."""
        states = {(tenant, f"session:{session}"): state for (tenant, session), state in self._calls.items()}
        states.update({key: self._parked[key].state for key in self._changed_parked})
        return {key: ids for key, state in states.items() if (ids := state.ids - self._announced.get(key, frozenset()))}

    async def _announce(self, key: Key, ids: frozenset[str]) -> None:
        """Write a stream's new ids into their aliases, and tie it to whoever is there already."""
        tenant, stream = key
        self._announced[key] = self._announced.get(key, frozenset()) | ids
        session = session_of(stream)
        for id_ in ids:
            alias = self._aliases[tenant, id_]
            mine = alias.parked if session is None else alias.sessions
            name = stream if session is None else session
            if name not in mine:
                mine.add(name)
                self._changed_aliases.add((tenant, id_))
            for other in sorted(alias.sessions if session is None else alias.parked):
                await self._tie(tenant, *((stream, other) if session is None else (other, session)))

    async def _tie(self, tenant: str, stream: str, session: str) -> None:
        """Join a parked stream's state into a session's; from now on whatever it gets is joined there too."""
        await self._load_parked({(tenant, stream)})
        await self._load_calls({(tenant, session)})
        parked = self._parked[tenant, stream]
        if session not in parked.sessions:
            parked.sessions.add(session)
            self._changed_parked.add((tenant, stream))
            self._join_call((tenant, session), parked.state)

    async def _load_calls(self, keys: Collection[Key]) -> None:
        missing = [key for key in keys if key not in self._call_documents]
        async for document in self._find(CONVERSATIONS, [conversation_key(*key) for key in missing]):
            key = (document["_id"]["tenant"], document["_id"]["session"])
            self._call_documents[key] = document
            self._calls[key] = await self._state_of(document)
            self._announced[key[0], f"session:{key[1]}"] = self._calls[key].ids
        for key in missing:
            self._call_documents.setdefault(key, None)

    async def _state_of(self, document: dict[str, Any]) -> CallState:
        """Read a state; one that older code made is computed from its events again, as far as they are kept."""
        if document["version"] > VERSION:
            raise NewerVersionError
        recomputed = None
        if document["version"] < VERSION:
            tenant, name = document["_id"].values()
            recompute = Recompute(self._database, self._session)
            of_call = "session" in document["_id"]
            recomputed = await (recompute.conversation if of_call else recompute.stream)(tenant, name)
        return CallState.from_document(document["state"]) if recomputed is None else recomputed

    async def _load_parked(self, keys: Collection[Key]) -> None:
        missing = [key for key in keys if key not in self._parked]
        async for document in self._find(PARKED, [{"tenant": tenant, "stream": stream} for tenant, stream in missing]):
            key = (document["_id"]["tenant"], document["_id"]["stream"])
            self._parked[key] = Parked(await self._state_of(document), set(document["sessions"]))
            self._announced[key] = self._parked[key].state.ids

    async def _load_aliases(self, keys: Collection[Key]) -> None:
        missing = [key for key in keys if key not in self._aliases]
        async for document in self._find(ALIASES, [{"tenant": tenant, "id": id_} for tenant, id_ in missing]):
            key = (document["_id"]["tenant"], document["_id"]["id"])
            self._aliases[key] = Alias(set(document["sessions"]), set(document["parked"]))
        for key in missing:
            self._aliases.setdefault(key, Alias(set(), set()))

    async def _find(self, collection: str, keys: list[dict[str, str]]) -> AsyncIterator[dict[str, Any]]:
        if keys:
            async for document in self._database[collection].find({"_id": {"$in": keys}}, session=self._session):
                yield document

    async def _write(self) -> None:
        dirty: set[tuple[str, int]] = set()
        calls = []
        for (tenant, session), state in self._calls.items():
            old, new = self._call_documents[tenant, session], conversation_document(tenant, session, state)
            if old == new:
                continue
            calls.append(_replacement(old, new))
            before, after = figures_of(old), figures_of(new)
            if before != after:
                dirty.update((tenant, int(str(figures[0]))) for figures in (before, after) if figures is not None)
        await self._bulk(CONVERSATIONS, calls)
        await self._bulk(PARKED, [_upsert(self._parked[key].to_document(*key)) for key in sorted(self._changed_parked)])
        await self._bulk(
            ALIASES, [_upsert(self._aliases[key].to_document(*key)) for key in sorted(self._changed_aliases)]
        )
        marks = [{"_id": {"tenant": tenant, "hour": hour, "batch": self._name}} for tenant, hour in sorted(dirty)]
        await self._bulk(DIRTY_HOURS, [_upsert(mark) for mark in marks])

    async def _bulk(self, collection: str, writes: list[Any]) -> None:
        if writes:
            target: AsyncCollection[dict[str, Any]] = self._database[collection]
            await target.bulk_write(writes, ordered=False, session=self._session)


def _partials(contributions: Iterable[Contribution]) -> tuple[dict[Key, CallState], dict[Key, CallState]]:
    """Join contributions by stream: those of sessions, and those to be parked (what has no id can't be tied)."""
    calls: dict[Key, CallState] = {}
    parked: dict[Key, CallState] = {}
    for contribution in contributions:
        session = session_of(contribution.stream)
        into, key = (
            (parked, (contribution.tenant, contribution.stream))
            if session is None
            else (calls, (contribution.tenant, session))
        )
        if session is None and not contribution.state.ids:
            continue
        into[key] = into[key].join(contribution.state) if key in into else contribution.state
    return calls, parked


def _replacement(
    old: dict[str, Any] | None, new: dict[str, Any]
) -> InsertOne[dict[str, Any]] | ReplaceOne[dict[str, Any]]:
    return InsertOne(new) if old is None else ReplaceOne({"_id": new["_id"]}, new)


def _upsert(document: dict[str, Any]) -> ReplaceOne[dict[str, Any]]:
    return ReplaceOne({"_id": document["_id"]}, document, upsert=True)
