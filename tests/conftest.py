"""Real servers for every test: one mongod and one redis-server a run, a database of its own for each test."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
import uvloop
from distribution import Distribution, place_of
from xdist.remote import Producer

from voice_common.mongo import Client, Database, connect
from voice_local.servers import Server, start_mongod, start_redis


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: place_of(item.nodeid))


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Distribution | None:
    return Distribution(config, log) if config.option.dist == "loadfile" else None


_ON_UVLOOP = ("tests/common/", "tests/gateway/")


def pytest_asyncio_loop_factories(item: pytest.Item) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Run what is about the event loop on that of production: asyncio's own differs after a stall, and in buffers."""
    return {"loop": uvloop.new_event_loop if item.nodeid.startswith(_ON_UVLOOP) else asyncio.new_event_loop}


@pytest.fixture(scope="session")
def mongo_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = start_mongod(Path(tmp_path_factory.mktemp("mongo")) / "db", cache_gb=0.25)
    yield server
    server.stop()


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = start_redis(Path(tmp_path_factory.mktemp("redis")) / "data")
    yield server
    server.stop()


@pytest.fixture
async def mongo_client(mongo_server: Server) -> AsyncIterator[Client]:
    client = connect(mongo_server.url, timeout_seconds=5)
    yield client
    await client.close()


@pytest.fixture
async def database(mongo_client: Client) -> AsyncIterator[Database]:
    name = f"test_{uuid.uuid4().hex}"
    yield mongo_client[name]
    await mongo_client.drop_database(name)
