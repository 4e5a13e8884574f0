"""Calls that a tenant may not want kept, and a store whose retention runs by the test's clock."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from webhooks_factories import T0, body_of, event

from voice_common.mongo import Database
from voice_common.store.envelope import read_envelope
from voice_common.store.events import StoredEvent
from voice_common.store.horizons import horizon_key
from voice_common.store.tenants import DEFAULT_RETENTION, RetentionKind, Tenant, TenantStore
from voice_common.times import DAY_MS
from voice_webhooks.contribution.transcripts import is_partial
from voice_webhooks.directory import CachedDirectory
from voice_webhooks.projection.projection import Projection
from voice_webhooks.rebuild import Rebuild, Rebuilt
from voice_webhooks.retention import Retention

DAY_0 = T0 - T0 % DAY_MS
DAY_1, DAY_2 = DAY_0 + DAY_MS, DAY_0 + 2 * DAY_MS
HOUR = 3_600_000
MODELS = ("conversations", "parked", "aliases", "retired")


def stored(document: Mapping[str, Any], *, tenant: str = "acme", received_at: int | None = None) -> StoredEvent:
    body = body_of(document)
    envelope = read_envelope(body, received_at=T0)
    received = envelope.occurred_at if received_at is None else received_at
    key = (tenant, envelope.stream, envelope.event, envelope.type)
    return StoredEvent(*key, envelope.occurred_at, received, "key", body, partial=is_partial(envelope))


def call(name: str, at: int, *, tenant: str = "acme") -> list[StoredEvent]:
    """Give a call's events: three of its session, two that name its leg only, a partial transcript among them."""
    ids: dict[str, Any] = {"call_session_id": name, "call_leg_id": f"leg-{name}"}
    spoken = {"role": "user", "text": "good", **ids}
    return [
        stored(document, tenant=tenant)
        for document in (
            event("call.initiated", at, **ids),
            event("call.answered", at + 1000, **ids),
            event("ai.assistant.transcript", at + 2000, is_final=False, **spoken),
            event("ai.assistant.transcript", at + 3000, is_final=True, **spoken),
            event("call.hangup", at + 60_000, call_leg_id=f"leg-{name}"),
        )
    ]


class Store:
    """A database with tenants, events that are stored and projected, and a retention whose clock the test sets."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.tenants = TenantStore(database)
        self.projection = Projection(database, CachedDirectory(self.tenants))
        self._seq = 0

    async def tenant(self, name: str = "acme", **days: int | None) -> None:
        kept = {RetentionKind(kind): count for kind, count in days.items()}
        retention = {**DEFAULT_RETENTION, **kept}
        if name in await self.tenants.retentions():
            await self.tenants.replace(Tenant(name, name, retention=retention))
        else:
            await self.tenants.create(Tenant(name, name, retention=retention))

    async def keep(self, *events: StoredEvent, worker: str = "worker") -> None:
        documents = []
        for one in events:
            self._seq += 1
            documents.append(one.to_document(worker, self._seq))
        await self.database["events"].insert_many(documents)

    async def take(self, *events: StoredEvent) -> None:
        """Store and project, as the service does."""
        await self.keep(*events)
        await self.projection.project(events)

    async def late(self, **payload: Any) -> None:
        """Take one more event, later than all."""
        await self.take(stored(event("call.answered", **payload)))

    async def look(self, now: int) -> None:
        retention = Retention(self.database, clock=lambda: now)
        await retention.look()
        await retention._lease.release()

    async def seal(self, before: int, tenant: str = "acme") -> None:
        """Do what the analytics worker does to a day's horizon."""
        await self.database["horizons"].update_one(
            {"_id": horizon_key(tenant)}, {"$set": {"sealed_before": before}}, upsert=True
        )

    async def rebuild(self) -> Rebuilt:
        return await Rebuild(self.database, self.projection, tenant=None, progress=lambda _phase, _size: None).run()

    async def models(self, tenant: str | None = None) -> dict[str, list[dict[str, Any]]]:
        chosen = {} if tenant is None else {"_id.tenant": tenant}
        return {name: await self.database[name].find(chosen).sort("_id", 1).to_list() for name in MODELS}

    async def sessions(self, tenant: str = "acme") -> list[str]:
        found = await self.database["conversations"].find({"_id.tenant": tenant}).sort("_id", 1).to_list()
        return [document["_id"]["session"] for document in found]

    async def events(self, tenant: str = "acme") -> int:
        return await self.database["events"].count_documents({"_id.tenant": tenant})
