"""Deletes the calls of sealed days, with what only they have, and leaves a tombstone for each.

The tombstone is why an event that comes later changes nothing: it is kept, and its stream is known to be retired.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Iterable
from typing import Any

from pymongo import DeleteOne, ReplaceOne

from voice_common.faults import reach
from voice_common.mongo import Database, Session, in_transaction
from voice_common.store.conversations import CONVERSATIONS, conversation_key
from voice_common.store.envelope import session_of
from voice_common.store.horizons import HORIZONS, horizon_key, horizons_of
from voice_common.store.keys import pages
from voice_webhooks.projection.documents import ALIASES, PARKED, RETIRED

_CALLS_AT_ONCE = 50


class Retirement:
    """Old calls of one tenant after the other; each step is a transaction, so any of them can be the last."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def tenants(self) -> list[str]:
        """Give the tenants that have sealed days, whatever they keep their calls for by now."""
        found = self._database[HORIZONS].find({"sealed_before": {"$gt": 0}}, {"_id": 1})
        return [document["_id"]["tenant"] async for document in found]

    async def delete_calls(self, tenant: str) -> int:
        """Delete some calls of a tenant's sealed days; give how many there were."""
        horizon = (await horizons_of(self._database, [tenant]))[tenant]
        chosen = {"_id.tenant": tenant, "started_at": {"$lt": horizon.sealed_before}}
        found = self._database[CONVERSATIONS].find(chosen, {"_id": 1}).hint("by_start").limit(_CALLS_AT_ONCE)
        sessions = [document["_id"]["session"] async for document in found]
        if sessions:
            await self._retire(tenant, {f"session:{session}" for session in sessions})
        return len(sessions)

    async def delete_parked(self, tenant: str) -> AsyncIterator[int]:
        """Delete a tenant's parked states of sealed days, which no call can have any more; give how many, by page.

        A walk over all that is parked, so it is made once for each day that is sealed.
        """
        horizon = (await horizons_of(self._database, [tenant]))[tenant]
        state = await self._database[HORIZONS].find_one({"_id": horizon_key(tenant)})
        if state is None or state.get("parked_gone_before", 0) >= horizon.sealed_before:
            return
        async for page in pages(self._database[PARKED], {"tenant": tenant}, size=_CALLS_AT_ONCE):
            streams = {document["_id"]["stream"] for document in page if horizon.seals(document["state"]["started_at"])}
            if streams:
                await self._retire(tenant, streams)
            yield len(streams)
        await self._database[HORIZONS].update_one(
            {"_id": horizon_key(tenant)}, {"$max": {"parked_gone_before": horizon.sealed_before}}
        )

    async def _retire(self, tenant: str, streams: Collection[str]) -> None:
        async def body(session: Session) -> None:
            await _Retiring(self._database, session, tenant).retire(streams)
            if __debug__:
                reach("retirement.written")

        await in_transaction(self._database.client, body)
        if __debug__:
            reach("retirement.committed")


class _Retiring:
    """One transaction. Every alias that it decides by is written, as by those who tie: they conflict, or they see."""

    def __init__(self, database: Database, session: Session, tenant: str) -> None:
        self._database = database
        self._session = session
        self._tenant = tenant

    async def retire(self, streams: Collection[str]) -> None:
        sessions = {session for stream in streams if (session := session_of(stream)) is not None}
        calls = await self._read(CONVERSATIONS, [conversation_key(self._tenant, session) for session in sessions])
        aliases = await self._aliases({id_ for call in calls for id_ in call["state"]["ids"]})
        tied = {stream for alias in aliases for stream in alias["parked"]} | {
            stream for stream in streams if session_of(stream) is None
        }
        parked = await self._read(PARKED, [{"tenant": self._tenant, "stream": stream} for stream in tied])
        left, gone = [], []
        for document in parked:
            others = [session for session in document["sessions"] if session not in sessions]
            orphaned = bool(document["sessions"]) and not others
            if document["_id"]["stream"] in streams or orphaned:
                gone.append(document)
            elif len(others) < len(document["sessions"]):
                left.append({**document, "sessions": others})
        retired = {document["_id"]["stream"] for document in gone} | {f"session:{session}" for session in sessions}
        aliases = await self._aliases(
            {id_ for document in (*calls, *gone) for id_ in document["state"]["ids"]},
        )
        await self._write(ALIASES, [_without(alias, sessions, retired) for alias in aliases])
        await self._write(PARKED, [_replacement(document) for document in left] + [_deletion(each) for each in gone])
        await self._write(RETIRED, [_replacement({"_id": {"tenant": self._tenant, "stream": s}}) for s in retired])
        await self._write(CONVERSATIONS, [_deletion(call) for call in calls])

    async def _aliases(self, ids: Iterable[str]) -> list[dict[str, Any]]:
        return await self._read(ALIASES, [{"tenant": self._tenant, "id": id_} for id_ in sorted(ids)])

    async def _read(self, collection: str, keys: list[dict[str, str]]) -> list[dict[str, Any]]:
        if not keys:
            return []
        return await self._database[collection].find({"_id": {"$in": keys}}, session=self._session).to_list()

    async def _write(self, collection: str, writes: list[Any]) -> None:
        if writes:
            await self._database[collection].bulk_write(writes, ordered=False, session=self._session)


def _without(alias: dict[str, Any], sessions: Collection[str], streams: Collection[str]) -> Any:  # noqa: ANN401 - a write
    named = [session for session in alias["sessions"] if session not in sessions]
    parked = [stream for stream in alias["parked"] if stream not in streams]
    return _replacement({**alias, "sessions": named, "parked": parked}) if named or parked else _deletion(alias)


def _replacement(document: dict[str, Any]) -> ReplaceOne[dict[str, Any]]:
    return ReplaceOne({"_id": document["_id"]}, document, upsert=True)


def _deletion(document: dict[str, Any]) -> DeleteOne:
    return DeleteOne({"_id": document["_id"]})
