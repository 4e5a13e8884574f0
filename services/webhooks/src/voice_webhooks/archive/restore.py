"""Stores the lines of an export again: durably, each once, and projected like what the intake stores.

Whoever ran it before does no harm: what is there already is skipped, so a restore that was interrupted is repeated.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from voice_common.mongo import DURABLE, Database
from voice_common.store.events import DUPLICATE, StoredEvent
from voice_common.store.tenants import DIRECTORY_MAX_AGE, ClaimTakenError, Tenant, TenantExistsError, TenantStore
from voice_webhooks.archive.lines import BadLineError, Line, Quarantined, TokenLine, read_line
from voice_webhooks.directory import CachedDirectory
from voice_webhooks.projection.projection import Projection
from voice_webhooks.quarantine import Quarantine
from voice_webhooks.storing import BATCH_BYTES, BATCH_EVENTS, Storing

_REPORTED = 1000
Numbered = tuple[int, StoredEvent]


@dataclass(slots=True)
class Restored:
    """What became of the lines; `errors` are the first of the bad ones, by their number."""

    events: int = 0
    tenants: int = 0
    tokens: int = 0
    quarantined: int = 0
    skipped: int = 0
    bad: int = 0
    errors: list[tuple[int, str]] = field(default_factory=list)

    def refuse(self, number: int, reason: str) -> None:
        """Count a bad line."""
        self.bad += 1
        if len(self.errors) < _REPORTED:
            self.errors.append((number, reason))


class Restore:
    """One restore; `progress` is told the result so far after each step."""

    def __init__(self, database: Database, *, progress: Callable[[Restored], None]) -> None:
        self._database = database
        self._tokens = database.get_collection("api_tokens", write_concern=DURABLE)
        self._tenants = TenantStore(database)
        self._quarantine = Quarantine(database)
        self._storing = Storing(database, Projection(database, CachedDirectory(self._tenants)))
        self._progress = progress
        self._known: set[str] = set()
        self._batch: list[Numbered] = []
        self._bytes = 0
        self.result = Restored()

    async def run(self, lines: Iterable[tuple[int, bytes]]) -> Restored:
        """Store all lines, given with their numbers; raises what the store raises, and then can be repeated."""
        async with self._storing:
            for number, text in lines:
                await self._take(number, text)
            await self._store_batch()
            if self.result.tenants:
                await asyncio.sleep(DIRECTORY_MAX_AGE)  # until no service knows less than this
        return self.result

    async def _take(self, number: int, text: bytes) -> None:
        if not text.strip():
            return
        try:
            await self._keep(number, read_line(text))
        except BadLineError as error:
            self.result.refuse(number, str(error))
        if len(self._batch) >= BATCH_EVENTS or self._bytes >= BATCH_BYTES:
            await self._store_batch()

    async def _keep(self, number: int, line: Line) -> None:
        if isinstance(line, StoredEvent):
            await self._require_tenant(line.tenant)
            self._batch.append((number, line))
            self._bytes += len(line.body)
        elif isinstance(line, Tenant):
            await self._keep_tenant(line)
        elif isinstance(line, TokenLine):
            await self._keep_token(line)
        else:
            await self._keep_quarantined(line)

    async def _require_tenant(self, tenant: str) -> None:
        if tenant not in self._known:
            if await self._tenants.find(tenant) is None:
                raise BadLineError(
                    f"there is no tenant {tenant}; create it, or export with --with-tenants, and import again"
                )
            self._known.add(tenant)

    async def _keep_tenant(self, tenant: Tenant) -> None:
        if await self._tenants.find(tenant.id) is not None:
            self.result.skipped += 1
            return
        try:
            await self._tenants.create(tenant)
        except TenantExistsError:
            raise BadLineError(f"the tenant {tenant.id} is deleted, and its data is not gone yet") from None
        except ClaimTakenError as error:
            raise BadLineError(str(error)) from None
        self.result.tenants += 1

    async def _keep_token(self, token: TokenLine) -> None:
        await self._require_tenant(str(token.document["tenant"]))
        done = await self._tokens.update_one({"_id": token.digest}, {"$setOnInsert": dict(token.document)}, upsert=True)
        if done.matched_count:
            self.result.skipped += 1
        else:
            self.result.tokens += 1

    async def _keep_quarantined(self, held: Quarantined) -> None:
        if await self._quarantine.keep(held.body, held.key, held.envelope, held.reason, received_at=held.received_at):
            self.result.quarantined += 1
        else:
            self.result.skipped += 1

    async def _store_batch(self) -> None:
        batch, self._batch, self._bytes = self._batch, [], 0
        if batch:
            outcomes = await self._storing.store([event for _, event in batch])
            for (number, _), refused in zip(batch, outcomes, strict=True):
                if refused is None:
                    self.result.events += 1
                elif refused == DUPLICATE:
                    self.result.skipped += 1
                else:
                    self.result.refuse(number, f"MongoDB refused the event (code {refused})")
        self._progress(self.result)
