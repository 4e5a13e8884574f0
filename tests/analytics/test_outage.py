"""A store that is down: the service starts, says that it is not ready, and answers 503 in time."""

from __future__ import annotations

import signal
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestClient
from analytics_factories import PUBLIC_KEY, asking
from pausing import pause

from voice_analytics.app import create_app
from voice_analytics.settings import AnalyticsSettings
from voice_common.mongo import connect
from voice_local.servers import Server, free_port, start_mongod

Client = Callable[..., Awaitable[TestClient[Any, Any]]]


@pytest.fixture
def own_mongod(tmp_path: Path) -> Iterator[Server]:
    server = start_mongod(tmp_path / "db", cache_gb=0.25)
    yield server
    server.process.send_signal(signal.SIGCONT)
    server.stop()


def app_settings(url: str) -> AnalyticsSettings:
    return AnalyticsSettings(mongo_url=url, identity_public_keys=[PUBLIC_KEY])


async def test_without_a_store_the_answer_is_503_within_two_seconds(aiohttp_client: Client) -> None:
    service = await aiohttp_client(create_app(app_settings(f"mongodb://127.0.0.1:{free_port()}/?replicaSet=rs0")))
    began = time.monotonic()
    assert await asking(service)("overview") == (503, {"error": "Service unavailable"})
    assert time.monotonic() - began < 2.5
    async with service.get("/livez") as alive, service.get("/readyz") as ready:
        assert (alive.status, ready.status) == (200, 503)
        assert set((await ready.json())["checks"]) == {"mongo", "indexes"}


async def test_a_store_that_hangs_is_not_waited_for(own_mongod: Server, aiohttp_client: Client) -> None:
    service = await aiohttp_client(create_app(app_settings(own_mongod.url)))
    ask = asking(service)
    status, before = await ask("overview")
    assert status == 200
    pause(own_mongod.process)
    began = time.monotonic()
    assert await ask("overview") == (503, {"error": "Service unavailable"})
    assert time.monotonic() - began < 2.5
    own_mongod.process.send_signal(signal.SIGCONT)
    deadline = time.monotonic() + 15
    while await ask("overview") != (200, before):
        assert time.monotonic() < deadline


async def test_an_index_made_amid_queries_does_not_fail_them(own_mongod: Server, aiohttp_client: Client) -> None:
    ask = asking(await aiohttp_client(create_app(app_settings(own_mongod.url))))
    client = connect(own_mongod.url, timeout_seconds=5)
    for turn in range(5):
        await client["voice"]["conversations"].create_index(f"some_{turn}")
        await client["voice"]["rollups"].drop()
        assert (await ask("overview"))[0] == 200
    await client.close()
