"""Keeps the rollups true: recomputes dirty hours, and makes days that are missing or of an older version."""

from __future__ import annotations

from typing import NamedTuple

import pymongo
from pymongo import UpdateOne

from voice_analytics.cover import Span, live_spans
from voice_analytics.indexes import make_indexes
from voice_analytics.marks import DIRTY_HOURS, dirty_hours, forget_marks, has_many_marks, thin_out
from voice_analytics.rollups import (
    ROLLUPS,
    STALE_VERSION,
    VERSION,
    built_key,
    hours_of,
    is_current,
    rollup_document,
    rollup_key,
)
from voice_analytics.scan import scan_hours
from voice_common.faults import reach
from voice_common.mongo import Database, Document, Session, in_transaction, ping
from voice_common.store.conversations import CONVERSATIONS
from voice_common.store.horizons import horizons_of
from voice_common.telemetry.traces import TRACES
from voice_common.times import DAY_MS

_TRANSACTION_SECONDS = 20.0
_LONG_SECONDS = 3600.0  # a pass over all calls of a tenant, and the making of an index
_STALE_AT_ONCE = 100


class TenantDay(NamedTuple):
    """One UTC day of a tenant, by its start in milliseconds."""

    tenant: str
    day: int


class RollupKeeper:
    """Writes ``rollups``. Several may work at once: each write is a transaction that conflicts with its like."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def prepare(self) -> None:
        """Make the collections and indexes; safe to repeat."""
        await ping(self._database)  # a server that is away is not waited for as long as an index may take
        with pymongo.timeout(_LONG_SECONDS):
            await make_indexes(self._database)

    async def dirty_days(self) -> list[TenantDay]:
        """Give the days that have marks, newest first."""
        day = {"$subtract": ["$_id.hour", {"$mod": ["$_id.hour", DAY_MS]}]}
        cursor = await self._database[DIRTY_HOURS].aggregate(
            [{"$group": {"_id": {"tenant": "$_id.tenant", "day": day}}}, {"$sort": {"_id.day": -1}}]
        )
        return [TenantDay(row["_id"]["tenant"], row["_id"]["day"]) async for row in cursor]

    async def oldest_mark(self) -> int | None:
        """Give when the oldest mark was put (ms); ``None`` where nothing is dirty."""
        cursor = await self._database[DIRTY_HOURS].aggregate([{"$group": {"_id": None, "at": {"$min": "$at"}}}])
        return next((row["at"] for row in await cursor.to_list()), None)

    async def stale_days(self) -> list[TenantDay]:
        """Give some of the days whose rollups are of an older version, or only promised."""
        cursor = self._database[ROLLUPS].find({"version": {"$lt": VERSION}}, {"_id": 1}).limit(_STALE_AT_ONCE)
        return [TenantDay(document["_id"]["tenant"], document["_id"]["day"]) async for document in cursor]

    async def unbuilt_tenants(self) -> list[str]:
        """Give the tenants that have calls and whose rollups have never been made, or were dropped."""
        tenants = await self._database[CONVERSATIONS].distinct("_id.tenant")
        cursor = self._database[ROLLUPS].find({"_id": {"$in": [built_key(tenant) for tenant in tenants]}}, {"_id": 1})
        built = {document["_id"]["tenant"] async for document in cursor}
        return [tenant for tenant in tenants if tenant not in built]

    async def build(self, tenant: str) -> None:
        """Promise a rollup for each day on which a tenant has calls; `stale_days` then gives these days."""
        day = {"$subtract": ["$started_at", {"$mod": ["$started_at", DAY_MS]}]}
        sealed_before = (await horizons_of(self._database, [tenant]))[tenant].sealed_before
        chosen = {"_id.tenant": {"$eq": tenant}, "started_at": {"$gte": sealed_before}}
        with pymongo.timeout(_LONG_SECONDS):
            cursor = await self._database[CONVERSATIONS].aggregate([{"$match": chosen}, {"$group": {"_id": day}}])
            promises = [
                UpdateOne(
                    {"_id": rollup_key(tenant, row["_id"])}, {"$setOnInsert": {"version": STALE_VERSION}}, upsert=True
                )
                async for row in cursor
            ]
            if promises:
                await self._database[ROLLUPS].bulk_write(promises, ordered=False)
            # Last: until it is there, queries ask the calls themselves.
            await self._database[ROLLUPS].update_one(
                {"_id": built_key(tenant)}, {"$setOnInsert": {"built": True}}, upsert=True
            )

    async def refresh(self, tenant: str, day: int) -> None:
        """Recompute what is dirty or stale of a day, in one transaction; with nothing left, the day is removed.

        A sealed day stays as it is, whatever is marked there. Of a day with more marks than one transaction takes away,
        some are, and it stays dirty: its turn comes again, after that of others.
        """
        period = Span(day, day + DAY_MS)

        async def body(session: Session) -> bool:
            if await has_many_marks(self._database, session, tenant, period):
                return False
            dirty = await dirty_hours(self._database, session, tenant, period)
            document = await self._database[ROLLUPS].find_one({"_id": rollup_key(tenant, day)}, session=session)
            if not dirty and (document is None or is_current(document)):
                return True  # another worker was here
            horizon = (await horizons_of(self._database, [tenant], session=session))[tenant]
            if not horizon.seals(day):
                await self._write(session, tenant, day, document, dirty)
            if __debug__:
                reach("rollup.written")
            await forget_marks(self._database, session, tenant, period)
            if __debug__:
                reach("rollup.unmarked")
            return True

        if __debug__:
            reach("rollup.begun")
        with TRACES.batch("rollup.refresh"):
            if not await in_transaction(self._database.client, body, seconds=_TRANSACTION_SECONDS):
                await thin_out(self._database, tenant, period)
        if __debug__:
            reach("rollup.committed")

    async def _write(self, session: Session, tenant: str, day: int, document: Document | None, dirty: set[int]) -> None:
        period = Span(day, day + DAY_MS)
        key = {"_id": rollup_key(tenant, day)}
        if document is not None and is_current(document):
            fresh = await scan_hours(self._database, session, tenant, live_spans(period, dirty, ()))
            hours = {hour: sums for hour, sums in hours_of(document).items() if hour not in dirty} | fresh
        else:
            # Not only the dirty hours: the day's document may have been dropped, with hours that nobody marked since.
            hours = await scan_hours(self._database, session, tenant, [period])
        if hours:
            await self._database[ROLLUPS].replace_one(
                key, rollup_document(tenant, day, hours), upsert=True, session=session
            )
        elif document is not None:
            await self._database[ROLLUPS].delete_one(key, session=session)
