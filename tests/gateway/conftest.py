"""One gateway before three services, on real stores."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest
import redis
from gateway_factories import Clock, Gateway, RunGateway, Services, make_tenant, make_token, running, settings_for

from voice_common.mongo import Database
from voice_gateway import limiter
from voice_gateway import shared_level as shared_level_module
from voice_local.servers import Server


@pytest.fixture(autouse=True)
def _no_windows_of_earlier_tests(redis_server: Server) -> None:
    with redis.Redis.from_url(redis_server.url) as client:
        client.flushall()


@pytest.fixture
async def services() -> AsyncIterator[Services]:
    made = Services()
    for service in made.all():
        await service.start()
    yield made
    for service in made.all():
        await service.stop()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def run_gateway(
    services: Services, mongo_server: Server, redis_server: Server, database: Database, clock: Clock
) -> RunGateway:
    def run(**more: Any) -> AbstractAsyncContextManager[Gateway]:
        chosen = {"redis_url": redis_server.url, "database_url": mongo_server.url} | more
        return running(settings_for(services, database=database.name, **chosen), clock)

    return run


@pytest.fixture
async def gateway(run_gateway: RunGateway) -> AsyncIterator[Gateway]:
    async with run_gateway() as made:
        await made.until_exact()
        yield made


@pytest.fixture
async def tenant(database: Database) -> str:
    return await make_tenant(database)


@pytest.fixture
async def token(database: Database, tenant: str) -> str:
    return await make_token(database, tenant)


@pytest.fixture
def patient_with_redis(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take no busy machine for a slow Redis."""
    for module, name in ((limiter, "_PATIENCE"), (shared_level_module, "_PATIENCE"), (shared_level_module, "_WAIT")):
        monkeypatch.setattr(module, name, 2.0)
