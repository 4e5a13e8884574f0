"""A conversation from its events alone, read in the session of one snapshot transaction."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from voice_common.mongo import Database, Session
from voice_common.store.conversations import CONVERSATIONS
from voice_common.store.events import EventStore
from voice_common.store.state import CallState
from voice_webhooks.projection.bounds import Turns
from voice_webhooks.projection.contributions import contributions_of
from voice_webhooks.projection.documents import ALIASES, PARKED, Alias, Parked


class NotComputableError(Exception):
    """What the events of a call come to can't be told: one of them is, or would be, set aside."""

    names_no_value = True


class Recompute:
    """Computes what documents come to; looks at events, and at aliases only to find what may be tied."""

    def __init__(self, database: Database, session: Session) -> None:
        self._database = database
        self._session = session
        self._events = EventStore(database)
        self.events = 0
        """How many events were read."""

    async def stream(self, tenant: str, stream: str) -> CallState | None:
        """Join what the events of one stream contribute; ``None`` where none of them contributes anything."""
        turns = Turns()
        state: CallState | None = None
        async for event in self._events.of_stream(tenant, stream, session=self._session):
            self.events += 1
            try:
                contributions = await contributions_of([event])
            except Exception as error:
                raise NotComputableError from error
            for contribution in contributions:
                state = await turns.join(state, contribution.state)
        return state

    async def conversation(self, tenant: str, name: str) -> CallState | None:
        """Join a session's own events and those of every parked stream that shares an id with them."""
        state = await self.stream(tenant, f"session:{name}")
        turns, joined = Turns(), set[str]()
        asked: frozenset[str] = frozenset()
        while state is not None and (new_ids := state.ids - asked):
            asked |= new_ids
            streams = {stream for alias in await self._aliases(tenant, new_ids) for stream in alias["parked"]}
            for stream in sorted(streams - joined):
                parked = await self.stream(tenant, stream)
                if parked is not None and parked.ids & state.ids:
                    joined.add(stream)
                    state = await turns.join(state, parked)
        return state

    async def parked(self, tenant: str, stream: str) -> Parked | None:
        """Give a parked stream's state, and the sessions that have one of its ids."""
        state = await self.stream(tenant, stream)
        if state is None:
            return None
        named = {name for alias in await self._aliases(tenant, state.ids) for name in alias["sessions"]}
        ids_of = await self._ids_of(tenant, named)
        return Parked(state, {name for name, ids in ids_of.items() if ids & state.ids})

    async def alias(self, tenant: str, id_: str, sessions: Iterable[str], parked: Iterable[str]) -> Alias | None:
        """Give an alias with those of the named sessions and parked streams that have its id."""
        ids_of = await self._ids_of(tenant, sessions)
        keys = [{"tenant": tenant, "stream": stream} for stream in parked]
        found = self._database[PARKED].find({"_id": {"$in": keys}}, session=self._session)
        streams = {document["_id"]["stream"] async for document in found if id_ in document["state"]["ids"]}
        names = {name for name, ids in ids_of.items() if id_ in ids}
        return Alias(names, streams) if names or streams else None

    async def _aliases(self, tenant: str, ids: Iterable[str]) -> list[dict[str, Any]]:
        keys = [{"tenant": tenant, "id": id_} for id_ in ids]
        return await self._database[ALIASES].find({"_id": {"$in": keys}}, session=self._session).to_list()

    async def _ids_of(self, tenant: str, names: Iterable[str]) -> dict[str, frozenset[str]]:
        keys = [{"tenant": tenant, "session": name} for name in names]
        found = self._database[CONVERSATIONS].find({"_id": {"$in": keys}}, {"state.ids": 1}, session=self._session)
        return {document["_id"]["session"]: frozenset(document["state"]["ids"]) async for document in found}
