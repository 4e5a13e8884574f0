"""The store is down or silent: a 503 in time, and good answers again when it is back."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from pausing import pause
from recordings_factories import completed_call, identity_headers, put

from voice_common.mongo import connect
from voice_local.servers import Server, free_port, start_mongod

from .conftest import Service, StartService

TARGETS = [
    "/api/voice/recordings/conv-1",
    "/api/conversations",
    "/api/conversations?status=failed",
    "/api/conversations/conv-1",
    "/api/conversations/conv-1/messages",
]


async def assert_unavailable(service: Service, target: str) -> None:
    started = time.monotonic()
    async with service.get(target, headers=identity_headers()) as answer:
        assert answer.status == 503
        assert int(answer.headers["Retry-After"]) >= 1
        assert await answer.json() == {"error": "Service unavailable"}
    assert time.monotonic() - started < 2


async def test_a_store_that_is_down_is_a_503_within_two_seconds(start_service: StartService) -> None:
    service = await start_service(mongo_url=f"mongodb://127.0.0.1:{free_port()}/?replicaSet=rs0")
    for target in TARGETS[:2]:
        await assert_unavailable(service, target)
    async with service.get("/readyz") as answer:
        assert answer.status == 503
        assert set((await answer.json())["checks"]) == {"mongo"}
    async with service.get("/livez") as answer:
        assert answer.status == 200


@pytest.fixture
async def own_mongod(tmp_path: Path) -> AsyncIterator[Server]:
    server = start_mongod(tmp_path / "db", cache_gb=0.25)
    yield server
    os.kill(server.process.pid, signal.SIGCONT)
    server.stop()


async def test_a_store_that_hangs_is_a_503_within_two_seconds_and_is_used_again(
    own_mongod: Server, start_service: StartService
) -> None:
    service = await start_service(mongo_url=own_mongod.url, mongo_database="voice")
    client = connect(own_mongod.url, timeout_seconds=5)
    await put(client["voice"], completed_call(), session="conv-1")
    await client.close()
    async with service.get("/api/conversations", headers=identity_headers()) as answer:
        assert (await answer.json())["total"] == 1

    pause(own_mongod.process)
    for target in TARGETS[1:4]:
        await assert_unavailable(service, target)
    os.kill(own_mongod.process.pid, signal.SIGCONT)

    deadline = time.monotonic() + 10
    while True:
        async with service.get("/api/conversations/conv-1", headers=identity_headers()) as answer:
            if answer.status == 200:
                break
        assert time.monotonic() < deadline
