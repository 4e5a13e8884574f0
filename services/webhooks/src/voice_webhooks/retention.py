"""Deletes what tenants do not want kept any longer, in the background, in small steps.

One process at a time, as far as it matters: each step may be cut short anywhere, and done twice. Calls go by whole
UTC days, and only those that the analytics worker has sealed, so that no figure of theirs is lost.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from voice_common.lease import Lease
from voice_common.mongo import Database
from voice_common.store.tenants import RetentionKind, TenantStore
from voice_common.times import DAY_MS, now_ms
from voice_webhooks.expiry import Expiry
from voice_webhooks.retirement import Retirement
from voice_webhooks.telemetry import DELETED
from voice_webhooks.workers import WorkerStore

LOOK_SECONDS = 30.0
_LEASE_SECONDS = 10.0


class Retention:
    """Looks every `LOOK_SECONDS` for what is old enough; `clock` gives milliseconds since the epoch."""

    def __init__(self, database: Database, *, clock: Callable[[], int] = now_ms) -> None:
        self._tenants = TenantStore(database)
        self._expiry = Expiry(database, WorkerStore(database))
        self._retirement = Retirement(database)
        self._lease = Lease(database, "retention", seconds=_LEASE_SECONDS)
        self._clock = clock

    async def look(self) -> None:
        """Delete all that is old enough, as long as no other process has the lease."""
        if not await self._lease.held():
            return
        retentions = await self._tenants.retentions()
        await self._expiry.index(wanted=any(days[RetentionKind.EVENTS] is not None for days in retentions.values()))
        for tenant, days in retentions.items():
            await self._expire(
                self._expiry.delete_partials, RetentionKind.PARTIALS, tenant, days[RetentionKind.PARTIALS]
            )
            await self._expire(self._expiry.delete_events, RetentionKind.EVENTS, tenant, days[RetentionKind.EVENTS])
        for tenant in await self._retirement.tenants():
            if tenant in retentions:  # not one that is being deleted whole
                await self._retire(tenant)

    async def _expire(
        self, delete: Callable[[str, int], Awaitable[int]], kind: RetentionKind, tenant: str, days: int | None
    ) -> None:
        if days is None:
            return
        before = self._clock() - days * DAY_MS
        while await self._lease.held() and (deleted := await delete(tenant, before)):
            DELETED.labels(kind).inc(deleted)

    async def _retire(self, tenant: str) -> None:
        kind = RetentionKind.CONVERSATIONS
        while await self._lease.held() and (deleted := await self._retirement.delete_calls(tenant)):
            DELETED.labels(kind).inc(deleted)
        async for deleted in self._retirement.delete_parked(tenant):
            DELETED.labels("parked").inc(deleted)
            if not await self._lease.held():
                return
