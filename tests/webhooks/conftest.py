from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from retention_factories import Store
from webhooks_factories import Service, Signer, start_service

from voice_common.mongo import Database
from voice_common.store.events import EventStore
from voice_common.store.tenants import Claim, ClaimKind, Tenant, TenantStore
from voice_local.servers import Server
from voice_webhooks.projection.documents import create_projection_indexes


@pytest.fixture
def signer() -> Signer:
    return Signer()


@pytest.fixture
async def tenants(database: Database) -> TenantStore:
    store = TenantStore(database)
    await store.create_indexes()
    await store.create(Tenant("acme", "Acme", claims=(Claim(ClaimKind.CONNECTION, "1001"),)))
    return store


@pytest.fixture
async def service(
    database: Database,
    mongo_server: Server,
    tenants: TenantStore,  # noqa: ARG001 - the service starts with a tenant
    signer: Signer,
) -> AsyncIterator[Service]:
    service, stop = await start_service(database, mongo_server.url, signer)
    yield service
    await stop()


@pytest.fixture
async def store(database: Database) -> Store:
    await EventStore(database).create_indexes()
    await create_projection_indexes(database)
    return Store(database)
