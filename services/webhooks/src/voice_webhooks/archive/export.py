"""Reads out what was received, so that it can be stored again elsewhere; see `lines` for the form."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

from voice_common.mongo import Database
from voice_common.store.events import EVENTS, EventStore
from voice_common.store.horizons import Horizon, horizons_of
from voice_common.store.keys import pages, within
from voice_common.store.tenants import Tenant, TenantStore
from voice_common.times import TimeRange
from voice_webhooks.archive.lines import event_line, quarantined_line, tenant_line, token_line

_PAGE = 256


class Export:
    """One export: of `tenants`, or of everything there is for ``None``.

    Events are read by their key, a page at a time, while the system runs: what is stored meanwhile may be left out.
    With `with_tenants`, tenants and their tokens come first, and the quarantine last where everything is exported.
    """

    def __init__(
        self, database: Database, tenants: Sequence[str] | None, *, period: TimeRange, with_tenants: bool
    ) -> None:
        self._database = database
        self._named = tenants
        self._period = period
        self._with_tenants = with_tenants

    async def tenants(self) -> list[Tenant]:
        """Give the tenants that are exported, by id; one that was named and is not there is left out."""
        found = await TenantStore(self._database).list()
        return [tenant for tenant in found if self._named is None or tenant.id in self._named]

    async def count(self) -> int:
        """Give how many events there are to look at."""
        if self._named is None:
            return await self._database[EVENTS].estimated_document_count()
        events = self._database[EVENTS]
        return sum([await events.count_documents({"_id": within(tenant=tenant)}) for tenant in self._named])

    async def incomplete(self) -> list[str]:
        """Give the tenants whose calls can't all be made again from events, since a retention deleted some."""
        tenants = [tenant.id for tenant in await self.tenants()]
        horizons = await horizons_of(self._database, tenants)
        return [tenant for tenant in tenants if horizons[tenant] != Horizon()]

    async def pages(self) -> AsyncIterator[tuple[int, list[dict[str, Any]]]]:
        """Give the lines, some at a time, each time with how many events were looked at for them."""
        tenants = await self.tenants()
        if self._with_tenants:
            yield 0, [tenant_line(tenant) for tenant in tenants]
            tokens = self._database["api_tokens"].find({"tenant": {"$in": [tenant.id for tenant in tenants]}})
            yield 0, [token_line(document) async for document in tokens.sort("_id", 1)]
        for tenant in tenants:
            async for events in EventStore(self._database).scan({"tenant": tenant.id}, size=_PAGE):
                yield len(events), [event_line(event) for event in events if self._holds(event.occurred_at)]
        if self._with_tenants and self._named is None:
            async for held in pages(self._database["quarantine"], {}, size=_PAGE):
                yield 0, [quarantined_line(document) for document in held]

    def _holds(self, occurred_at: int) -> bool:
        start, end = self._period.start, self._period.end
        return (start is None or occurred_at >= start) and (end is None or occurred_at < end)
