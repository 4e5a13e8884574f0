"""Which tenant's conversation shares an id with an event that names no tenant."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from voice_common.mongo import Database
from voice_common.store.conversations import CONVERSATIONS, conversation_key
from voice_common.store.tenants import Directory
from voice_webhooks.projection.documents import ALIASES
from voice_webhooks.tenancy import trusted_keys

Conversation = tuple[str, str]
"""A tenant and a session of it."""


@dataclass(frozen=True, slots=True)
class Named:
    """The ids of an event, and the key that verified it."""

    session: str | None
    ids: frozenset[str]
    key: str


class TieStore:
    """Looks conversations up by any id, over all tenants."""

    def __init__(self, database: Database, system_keys: Sequence[str]) -> None:
        self._conversations = database[CONVERSATIONS]
        self._aliases = database[ALIASES]
        self._system_keys = system_keys

    async def tenants_of(self, events: Iterable[Named], directory: Directory) -> list[str | None]:
        """Give for each event the tenant of a conversation that shares an id and whose events its key verified.

        The key must count for that tenant now. Where several tenants' conversations do, the first by id.
        """
        named = list(events)
        by_id = await self._conversations_of({id_ for event in named for id_ in event.ids})
        sessions = {event.session for event in named if event.session is not None}
        verified = await self._keys({"_id.session": {"$in": sorted(sessions)}}) if sessions else {}
        others = {conversation for some in by_id.values() for conversation in some} - verified.keys()
        if others:
            wanted = [conversation_key(tenant, session) for tenant, session in sorted(others)]
            verified.update(await self._keys({"_id": {"$in": wanted}}))
        return [self._tenant(event, by_id, verified, directory) for event in named]

    def _tenant(
        self,
        event: Named,
        by_id: Mapping[str, frozenset[Conversation]],
        verified: Mapping[Conversation, frozenset[str]],
        directory: Directory,
    ) -> str | None:
        shared = {conversation for id_ in event.ids for conversation in by_id.get(id_, ())}
        shared |= {conversation for conversation in verified if conversation[1] == event.session}
        for tenant_id in sorted({known[0] for known in shared if event.key in verified.get(known, ())}):
            tenant = directory.tenants.get(tenant_id)
            if tenant is not None and event.key in trusted_keys(tenant, self._system_keys):
                return tenant_id
        return None

    async def _conversations_of(self, ids: set[str]) -> dict[str, frozenset[Conversation]]:
        found: dict[str, frozenset[Conversation]] = {}
        if ids:
            async for alias in self._aliases.find({"_id.id": {"$in": sorted(ids)}}, {"sessions": 1}):
                tenant, id_ = alias["_id"]["tenant"], alias["_id"]["id"]
                found[id_] = found.get(id_, frozenset()) | {(tenant, session) for session in alias["sessions"]}
        return found

    async def _keys(self, chosen: Mapping[str, object]) -> dict[Conversation, frozenset[str]]:
        return {
            (document["_id"]["tenant"], document["_id"]["session"]): frozenset(document["state"]["keys"])
            async for document in self._conversations.find(chosen, {"state.keys": 1})
        }
