"""Seals the days whose calls a tenant does not want kept any longer: from then on their rollups are all there is.

First it is announced which days may be sealed, then they are, one at a time, in order, each in one transaction that
reads that nothing of the day is left to be recomputed. What changes a call of an announced day writes the tenant's
horizon, as the sealing does, so one of the two runs again. Between announcement and sealing lies more time than a
transaction can last: one that began before it, and so does not know of it, has ended by then.
"""

from __future__ import annotations

from collections.abc import Callable

from voice_analytics.cover import Span, day_of
from voice_analytics.marks import dirty_hours
from voice_analytics.rollups import ROLLUPS, built_key, is_current, rollup_key, seal_rollup
from voice_common.mongo import Database, Session, in_transaction
from voice_common.store.conversations import CONVERSATIONS
from voice_common.store.conversations import VERSION as CONVERSATION_VERSION
from voice_common.store.horizons import HORIZONS, Horizon, horizon_key, horizons_of
from voice_common.store.tenants import RetentionKind, TenantStore
from voice_common.times import DAY_MS, now_ms

LONGEST_TRANSACTION_SECONDS = 60.0
"""MongoDB ends transactions after so long, unless it is told otherwise (`transactionLifetimeLimitSeconds`)."""
_DAYS_AT_ONCE = 50


class Sealing:
    """Moves the horizons of tenants on; `clock` gives milliseconds since the epoch.

    `announced_seconds` is for how long it is known which days may be sealed before any of them is: more than a
    transaction can last, unless something else is said.
    """

    def __init__(
        self,
        database: Database,
        *,
        clock: Callable[[], int] = now_ms,
        announced_seconds: float | None = None,
    ) -> None:
        self._database = database
        self._tenants = TenantStore(database)
        self._clock = clock
        seconds = LONGEST_TRANSACTION_SECONDS if announced_seconds is None else announced_seconds
        self._announced_ms = int(seconds * 1000)

    async def step(self) -> int:
        """Seal some days of each tenant; give how many, zero once all are sealed or wait.

        Raises an `ExceptionGroup` of what kept tenants' days from being sealed, once those of all others are.
        """
        sealed, failures = 0, list[Exception]()
        for tenant, retention in (await self._tenants.retentions()).items():
            days = retention[RetentionKind.CONVERSATIONS]
            if days is None:
                continue
            try:
                sealed += await self._seal_days(tenant, day_of(self._clock() - days * DAY_MS))
            except Exception as error:  # noqa: BLE001 - no tenant's day keeps those of the others from being sealed
                failures.append(error)
        if failures:
            message = "days could not be sealed"
            raise ExceptionGroup(message, failures)
        return sealed

    async def _seal_days(self, tenant: str, end: int) -> int:
        horizon = (await horizons_of(self._database, [tenant]))[tenant]
        if horizon.sealed_before >= end or not await self._is_announced(tenant, horizon, end):
            return 0
        for count in range(_DAYS_AT_ONCE):
            if not await self._seal_day(tenant, end):
                return count
        return _DAYS_AT_ONCE

    async def _is_announced(self, tenant: str, horizon: Horizon, end: int) -> bool:
        """Announce that the days before `end` may be sealed; tell whether that is known for long enough."""
        horizons = self._database[HORIZONS]
        if horizon.sealing_before < end:
            if not await self._has_calls(tenant, horizon, end):
                return False
            change = {"$set": {"sealing_before": end, "announced_at": "$$NOW"}}
            await horizons.update_one({"_id": horizon_key(tenant)}, [change], upsert=True)
        waited = {"$lte": ["$announced_at", {"$subtract": ["$$NOW", self._announced_ms]}]}
        return await horizons.find_one({"_id": horizon_key(tenant), "$expr": waited}, {"_id": 1}) is not None

    async def _has_calls(self, tenant: str, horizon: Horizon, end: int) -> bool:
        """Tell whether there is anything to seal: a tenant without a call has no first day."""
        if horizon.sealed_before:
            return True
        chosen = {"_id.tenant": tenant, "started_at": {"$lt": end}}
        return await self._database[CONVERSATIONS].find_one(chosen, {"_id": 1}) is not None

    async def _seal_day(self, tenant: str, end: int) -> bool:
        """Seal a tenant's first day that is not sealed, if it lies before `end` and its rollup is true."""

        async def body(session: Session) -> bool:
            day = await self._next_day(session, tenant)
            if day is None or day >= end or not await self._is_final(session, tenant, day):
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

    async def _is_final(self, session: Session, tenant: str, day: int) -> bool:
        """Tell whether a day's rollup is true, and no call of it is of older code, whose facts may yet change."""
        if await dirty_hours(self._database, session, tenant, Span(day, day + DAY_MS)):
            return False
        of_day = {"_id.tenant": tenant, "started_at": {"$gte": day, "$lt": day + DAY_MS}}
        older = self._database[CONVERSATIONS].find(
            {**of_day, "version": {"$lt": CONVERSATION_VERSION}}, {"_id": 1}, session=session
        )
        if await older.hint("by_start").limit(1).to_list():
            return False
        keys = [built_key(tenant), rollup_key(tenant, day)]
        found = await self._database[ROLLUPS].find({"_id": {"$in": keys}}, session=session).to_list()
        built = any(document["_id"] == built_key(tenant) for document in found)
        return built and all(is_current(document) for document in found if document["_id"]["day"] == day)
