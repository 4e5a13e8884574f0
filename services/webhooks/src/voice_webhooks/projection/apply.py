"""Applies a batch of contributions to the read models, in the session of one snapshot transaction."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Iterable
from typing import Any

from pymongo import InsertOne, ReplaceOne
from pymongo.asynchronous.collection import AsyncCollection

from voice_common.mongo import Database, Document, Session
from voice_common.store.conversations import CONVERSATIONS, VERSION, conversation_document, conversation_key
from voice_common.store.envelope import session_of
from voice_common.store.horizons import Horizon, horizons_of, touch_horizon
from voice_common.store.state import CallState
from voice_common.times import now_ms
from voice_webhooks.projection.bounds import AS_BYTES, LARGEST_DOCUMENT, Turns, bounded
from voice_webhooks.projection.contributions import Contribution
from voice_webhooks.projection.documents import (
    ALIASES,
    DIRTY_HOURS,
    PARKED,
    RETIRED,
    Alias,
    Parked,
    figures_of,
    mark_document,
)
from voice_webhooks.projection.language import is_english
from voice_webhooks.projection.states import Key, NewerVersionError, States


class Batch:
    """One batch: reads what it touches, joins, ties parked streams to sessions, writes what changed.

    Every read that decides something is of a document that is written where the decision changes it, so that
    snapshot isolation is enough: a transaction that decided on a stale read conflicts and runs again.
    """

    def __init__(self, database: Database, session: Session, name: str, *, replaces_newer: bool = False) -> None:
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
        self._horizons: dict[str, Horizon] = {}
        self._retiring: set[Key] = set()
        self._turns = Turns()
        self._states = States(database, session, self._turns, self._horizons, replaces_newer=replaces_newer)
        self._at_most: int | None = None

    async def apply(self, contributions: Iterable[Contribution]) -> None:
        """Join all contributions into the read models and mark the hours whose figures change.

        Raises `NewerVersionError` and `TooMuchRecomputedError`, and `CallTooLargeError` for what no call can hold.
        """
        # What has no id can't be tied to a session, ever.
        said = [one for one in contributions if one.state.ids or session_of(one.stream) is not None]
        calls, parked = await self._partials(said)
        await self._load_horizons({tenant for tenant, _ in (*calls, *parked)})
        await self._load_calls(calls)
        await self._load_parked(parked)
        if any(horizon.sealed_before for horizon in self._horizons.values()):
            calls, parked = await self._partials(await self._admitted(said))
        for key, state in calls.items():
            await self._join_call(key, state)
        for key, state in parked.items():
            await self._join_parked(key, state)
        await self._tie_news()
        await self._write()

    async def refresh(self, calls: Collection[Key], parked: Collection[Key]) -> None:
        """Write documents again that older code made, also those that it let grow larger."""
        self._at_most = LARGEST_DOCUMENT
        await self._load_horizons({tenant for tenant, _ in (*calls, *parked)})
        await self._load_calls(calls)
        await self._load_parked(parked)
        self._changed_parked.update(key for key in parked if key in self._parked)  # others were deleted meanwhile
        await self._tie_news()
        await self._write()

    async def _tie_news(self) -> None:
        while news := self._news():
            await self._load_aliases({(tenant, id_) for (tenant, _), ids in news.items() for id_ in ids})
            for key, ids in news.items():
                await self._announce(key, ids)

    async def _load_horizons(self, tenants: Collection[str]) -> None:
        self._horizons.update(await horizons_of(self._database, tenants, session=self._session))

    async def _admitted(self, contributions: list[Contribution]) -> list[Contribution]:
        """Leave out what can't change anything any more: it is of a deleted call, or would move one to a sealed day.

        One by one, and not joined by stream: what is left out must not depend on what it came with. A stream that
        is not there yet and would begin on a sealed day is retired, as if its call had been deleted with the day.
        """
        behind = [one for one in contributions if self._horizons[one.tenant].sealed_before]
        unknown = {(one.tenant, one.stream) for one in behind if self._start_of(one) is None}
        keys = [{"tenant": tenant, "stream": stream} for tenant, stream in sorted(unknown)]
        retired = {(found["_id"]["tenant"], found["_id"]["stream"]) async for found in self._find(RETIRED, keys)}
        sealed = {(one.tenant, one.stream) for one in behind if self._seals(one.tenant, one.state)}
        self._retiring = (sealed & unknown) - retired
        retired |= self._retiring
        return [
            one
            for one in contributions
            if (one.tenant, one.stream) not in retired and not self._seals(one.tenant, one.state)
        ]

    def _start_of(self, contribution: Contribution) -> int | None:
        session = session_of(contribution.stream)
        if session is not None:
            known = self._calls.get((contribution.tenant, session))
        else:
            parked = self._parked.get((contribution.tenant, contribution.stream))
            known = None if parked is None else parked.state
        return None if known is None else known.started_at

    def _seals(self, tenant: str, state: CallState) -> bool:
        return state.started_at is not None and self._horizons[tenant].seals(state.started_at)

    async def _partials(
        self, contributions: Iterable[Contribution]
    ) -> tuple[dict[Key, CallState], dict[Key, CallState]]:
        """Join contributions by stream: those of sessions, and those to be parked."""
        calls: dict[Key, CallState] = {}
        parked: dict[Key, CallState] = {}
        for contribution in contributions:
            session = session_of(contribution.stream)
            into, name = (parked, contribution.stream) if session is None else (calls, session)
            key = (contribution.tenant, name)
            into[key] = await self._turns.join(into.get(key), contribution.state)
        return calls, parked

    async def _join_call(self, key: Key, state: CallState) -> None:
        known = self._calls.get(key)
        if self._seals(key[0], state) or (known is not None and self._seals(key[0], known)):
            return  # a sealed day has its figures, and nobody may join it or leave it
        self._calls[key] = await self._turns.join(known, state)

    async def _join_parked(self, key: Key, state: CallState) -> None:
        known = self._parked.get(key)
        joined = await self._turns.join(None if known is None else known.state, state)
        if known is not None and (joined == known.state or self._seals(key[0], known.state)):
            return
        self._parked[key] = Parked(joined, set() if known is None else known.sessions)
        self._changed_parked.add(key)
        tied = {(key[0], session) for session in self._parked[key].sessions}
        await self._load_calls(tied)
        for call in tied:
            await self._join_call(call, joined)

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
        parked = self._parked.get((tenant, stream))  # none where it was deleted, and its alias not yet
        if parked is not None and session not in parked.sessions:
            parked.sessions.add(session)
            self._changed_parked.add((tenant, stream))
            await self._join_call((tenant, session), parked.state)

    async def _load_calls(self, keys: Collection[Key]) -> None:
        missing = [key for key in keys if key not in self._call_documents]
        newer = dict[Key, int]()
        async for document in self._find(CONVERSATIONS, [conversation_key(*key) for key in missing]):
            tenant, session = document["_id"]["tenant"], document["_id"]["session"]
            state = await self._states.of_document(document)
            if state is None:
                newer[tenant, f"session:{session}"] = document["version"]
                continue
            self._call_documents[tenant, session] = document
            self._calls[tenant, session] = state
            self._announced[tenant, f"session:{session}"] = state.ids
        _leave(newer)
        for key in missing:
            self._call_documents.setdefault(key, None)

    async def _load_parked(self, keys: Collection[Key]) -> None:
        missing = [key for key in keys if key not in self._parked]
        newer = dict[Key, int]()
        async for document in self._find(PARKED, [{"tenant": tenant, "stream": stream} for tenant, stream in missing]):
            key = (document["_id"]["tenant"], document["_id"]["stream"])
            state = await self._states.of_document(document)
            if state is None:
                newer[key] = document["version"]
                continue
            self._parked[key] = Parked(state, set(document["sessions"]))
            self._announced[key] = state.ids
        _leave(newer)

    async def _load_aliases(self, keys: Collection[Key]) -> None:
        missing = [key for key in keys if key not in self._aliases]
        async for document in self._find(ALIASES, [{"tenant": tenant, "id": id_} for tenant, id_ in missing]):
            key = (document["_id"]["tenant"], document["_id"]["id"])
            self._aliases[key] = Alias(set(document["sessions"]), set(document["parked"]))
        for key in missing:
            self._aliases.setdefault(key, Alias(set(), set()))

    async def _find(self, collection: str, keys: list[dict[str, str]]) -> AsyncIterator[dict[str, Any]]:
        if keys:
            target = self._database[collection].with_options(codec_options=AS_BYTES)
            async for document in target.find({"_id": {"$in": keys}}, session=self._session):
                yield await self._turns.read(document)

    async def _write(self) -> None:
        dirty: set[tuple[str, int]] = set()
        calls = []
        starts = {(tenant, self._parked[tenant, stream].state.started_at) for tenant, stream in self._changed_parked}
        for tenant, session in list(self._calls):
            # Taken out, so that what is large is let go of call by call: all at once would be a long turn, too.
            state, old = self._calls.pop((tenant, session)), self._call_documents.pop((tenant, session))
            new = await self._turns.work(state.size, self._document_of, tenant, session, state, old)
            if old == new:
                continue
            calls.append(_replacement(old, await self._turns.work(state.size, bounded, new, self._at_most)))
            starts.add((tenant, state.started_at))
            before, after = figures_of(old), figures_of(new)
            if before != after:
                dirty.update((tenant, int(str(figures[0]))) for figures in (before, after) if figures is not None)
        await self._touch_horizons(starts)
        await self._bulk(CONVERSATIONS, calls)
        await self._bulk(PARKED, [_upsert(await self._bounded_parked(key)) for key in sorted(self._changed_parked)])
        await self._bulk(
            ALIASES, [_upsert(self._aliases[key].to_document(*key)) for key in sorted(self._changed_aliases)]
        )
        retiring = [{"_id": {"tenant": tenant, "stream": stream}} for tenant, stream in sorted(self._retiring)]
        await self._bulk(RETIRED, [_upsert(stream) for stream in retiring])
        marks = [mark_document(tenant, hour, self._name, at=now_ms()) for tenant, hour in sorted(dirty)]
        await self._bulk(DIRTY_HOURS, [_upsert(mark) for mark in marks])

    async def _bounded_parked(self, key: Key) -> Document:
        parked = self._parked[key]
        return await self._turns.work(parked.state.size, lambda: bounded(parked.to_document(*key), self._at_most))

    def _document_of(self, tenant: str, session: str, state: CallState, old: dict[str, Any] | None) -> dict[str, Any]:
        """Give a call's new document; what older code made and no event can tell anew keeps its facts as they are."""
        if old is not None and self._states.frozen.get((tenant, session)) == state:
            return {**old, "version": VERSION}
        return conversation_document(tenant, session, state, is_english)

    async def _touch_horizons(self, starts: Iterable[tuple[str, int | None]]) -> None:
        """See to it that a day whose calls change is not sealed at the same moment."""
        known = {(tenant, start) for tenant, start in starts if start is not None}
        for tenant in sorted({tenant for tenant, start in known if self._horizons[tenant].is_sealing(start)}):
            await touch_horizon(self._database, tenant, session=self._session)

    async def _bulk(self, collection: str, writes: list[Any]) -> None:
        if writes:
            target: AsyncCollection[dict[str, Any]] = self._database[collection]
            await target.bulk_write(writes, ordered=False, session=self._session)


def _leave(newer: dict[Key, int]) -> None:
    if newer:
        raise NewerVersionError(newer, max(newer.values()))


def _replacement(old: Document | None, new: Document) -> InsertOne[Document] | ReplaceOne[Document]:
    return InsertOne(new) if old is None else ReplaceOne({"_id": new["_id"]}, new)


def _upsert(document: Document) -> ReplaceOne[Document]:
    return ReplaceOne({"_id": document["_id"]}, document, upsert=True)
