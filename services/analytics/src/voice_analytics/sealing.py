"""Seals the days whose calls a tenant does not want kept any longer: from then on their rollups are all there is.

A day at a time, in order, each in one transaction that reads that nothing of the day is left to be recomputed. What
changes a call of the day at the same moment writes the same horizon, so one of the two runs again; only at a tenant's
very first sealing there is no day before it that would tell which one is next, and a call that is stored for a still
earlier day at that very moment goes uncounted, as it would have a moment later.
"""

from __future__ import annotations

from collections.abc import Callable

from voice_analytics.cover import Span, day_of
from voice_analytics.rollups import ROLLUPS, built_key, dirty_hours, is_current, rollup_key, seal_rollup
from voice_common.mongo import Database, Session, in_transaction
from voice_common.store.conversations import CONVERSATIONS
from voice_common.store.conversations import VERSION as CONVERSATION_VERSION
from voice_common.store.horizons import HORIZONS, horizon_key, horizons_of
from voice_common.store.tenants import RetentionKind, TenantStore
from voice_common.times import DAY_MS, now_ms

_DAYS_AT_ONCE = 50


class Sealing:
    """Moves the horizons of tenants on; `clock` gives milliseconds since the epoch."""

    def __init__(self, database: Database, *, clock: Callable[[], int] = now_ms) -> None:
        self._database = database
        self._tenants = TenantStore(database)
        self._clock = clock

    async def step(self) -> int:
        """Seal some days of each tenant; give how many, zero once all are sealed or wait for the rollups."""
        if await self._database[CONVERSATIONS].find_one({"version": {"$lt": CONVERSATION_VERSION}}, {"_id": 1}):
            return 0  # their facts may yet change
        sealed = 0
        for tenant, retention in (await self._tenants.retentions()).items():
            days = retention[RetentionKind.CONVERSATIONS]
            if days is not None:
                sealed += await self._seal_days(tenant, day_of(self._clock() - days * DAY_MS))
        return sealed

    async def _seal_days(self, tenant: str, end: int) -> int:
        for count in range(_DAYS_AT_ONCE):
            if not await self._seal_day(tenant, end):
                return count
        return _DAYS_AT_ONCE

    async def _seal_day(self, tenant: str, end: int) -> bool:
        """Seal a tenant's first day that is not sealed, if it lies before `end` and its rollup is true."""

        async def body(session: Session) -> bool:
            day = await self._next_day(session, tenant)
            if day is None or day >= end or not await self._is_rolled_up(session, tenant, day):
                return False
            await seal_rollup(self._database, session, tenant, day)
            await self._database[HORIZONS].update_one(
                {"_id": horizon_key(tenant)}, {"$set": {"sealed_before": day + DAY_MS}}, upsert=True, session=session
            )
            return True

        return await in_transaction(self._database.client, body)

    async def _next_day(self, session: Session, tenant: str) -> int | None:
        horizon = (await horizons_of(self._database, [tenant], session=session))[tenant]
        if horizon.sealed_before:
            return horizon.sealed_before
        first = await self._database[CONVERSATIONS].find_one(
            {"_id.tenant": tenant}, {"started_at": 1}, sort=[("started_at", 1)], session=session
        )
        return None if first is None else day_of(first["started_at"])

    async def _is_rolled_up(self, session: Session, tenant: str, day: int) -> bool:
        if await dirty_hours(self._database, session, tenant, Span(day, day + DAY_MS)):
            return False
        keys = [built_key(tenant), rollup_key(tenant, day)]
        found = await self._database[ROLLUPS].find({"_id": {"$in": keys}}, session=session).to_list()
        built = any(document["_id"] == built_key(tenant) for document in found)
        return built and all(is_current(document) for document in found if document["_id"]["day"] == day)
