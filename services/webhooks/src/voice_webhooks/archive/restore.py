"""Stores the lines of an export again: durably, each once, and projected like what the intake stores.

This process is a worker like any other: what it stored and did not project, because it ended, another one projects.
Whoever ran it before does no harm: what is there already is skipped, so a restore that was interrupted is repeated.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from pymongo.errors import BulkWriteError

from voice_common.mongo import DURABLE, Database
from voice_common.store.events import EVENTS, StoredEvent
from voice_common.store.tenants import DIRECTORY_MAX_AGE, ClaimTakenError, Tenant, TenantExistsError, TenantStore
from voice_webhooks.archive.lines import BadLineError, Line, Quarantined, TokenLine, read_line
from voice_webhooks.directory import CachedDirectory
from voice_webhooks.projection.projection import Projection
from voice_webhooks.quarantine import Quarantine
from voice_webhooks.workers import Registration, WorkerStore

_BATCH_EVENTS = 256
_BATCH_BYTES = 8 * 1024 * 1024
_REPORTED = 1000
_DUPLICATE = 11000
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
        self._events = database.get_collection(EVENTS, write_concern=DURABLE)
        self._tokens = database.get_collection("api_tokens", write_concern=DURABLE)
        self._tenants = TenantStore(database)
        self._quarantine = Quarantine(database)
        self._workers = WorkerStore(database)
        self._registration = Registration(self._workers)
        self._projection = Projection(database, CachedDirectory(self._tenants))
        self._progress = progress
        self._known: set[str] = set()
        self._batch: list[Numbered] = []
        self._bytes = 0
        self.result = Restored()

    async def run(self, lines: Iterable[tuple[int, bytes]]) -> Restored:
        """Store all lines, given with their numbers; raises what the store raises, and then can be repeated."""
        try:
            for number, text in lines:
                await self._take(number, text)
            await self._store_batch()
            if self.result.tenants:
                await asyncio.sleep(DIRECTORY_MAX_AGE)  # until no service knows less than this
            if self._registration.id and self._registration.is_certain:
                await self._workers.forget(self._registration.id)  # all of it is projected
        finally:
            self._registration.retire()
            for worker in self._registration.retired:
                await self._workers.end(worker)  # whatever is left, another worker projects at once
        return self.result

    async def _take(self, number: int, text: bytes) -> None:
        if not text.strip():
            return
        try:
            await self._keep(number, read_line(text))
        except BadLineError as error:
            self.result.refuse(number, str(error))
        if len(self._batch) >= _BATCH_EVENTS or self._bytes >= _BATCH_BYTES:
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
            while not self._registration.is_certain:
                await self._registration.renew(0)
            worker, first = self._registration.id, self._registration.next_numbers(len(batch))
            refused = await self._insert([event.to_document(worker, first + n) for n, (_, event) in enumerate(batch)])
            new = []
            for place, (number, event) in enumerate(batch):
                if place not in refused:
                    new.append(event)
                elif refused[place] == _DUPLICATE:
                    self.result.skipped += 1
                else:
                    self.result.refuse(number, f"MongoDB refused the event (code {refused[place]})")
            if new:
                await self._projection.project(new)
            if self._registration.id == worker:
                await self._registration.renew(first + len(batch) - 1)
            self.result.events += len(new)
        self._progress(self.result)

    async def _insert(self, documents: list[dict[str, object]]) -> dict[int, int]:
        """Insert events durably; give the error code of each that was refused, by its place.

        A write-concern error is raised: then nothing of the batch is known to be durable.
        """
        try:
            await self._events.insert_many(documents, ordered=False)
        except BulkWriteError as error:
            if error.details["writeConcernErrors"]:
                raise
            return {each["index"]: each["code"] for each in error.details["writeErrors"]}
        return {}
