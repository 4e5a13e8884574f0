"""The real recordings service on a real MongoDB."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer
from multidict import CIMultiDictProxy
from recordings_factories import PUBLIC_KEY, TENANT, identity_headers

from voice_common.mongo import Database
from voice_local.servers import Server
from voice_recordings.app import create_app
from voice_recordings.settings import RecordingsSettings

Service = TestClient[Any, Any]
StartService = Callable[..., Awaitable[Service]]


@dataclass(frozen=True)
class Answer:
    status: int
    body: Any
    headers: CIMultiDictProxy[str]


@pytest.fixture
def start_service(
    mongo_server: Server, database: Database, aiohttp_client: Callable[[TestServer], Awaitable[Service]]
) -> StartService:
    async def start(**settings: Any) -> Service:
        known = {
            "mongo_url": mongo_server.url,
            "mongo_database": database.name,
            "identity_public_keys": [PUBLIC_KEY],
        }
        return await aiohttp_client(TestServer(create_app(RecordingsSettings(**(known | settings)))))

    return start


@pytest.fixture
async def service(start_service: StartService) -> Service:
    return await start_service()


Get = Callable[..., Awaitable[Answer]]


@pytest.fixture
def get(service: Service) -> Get:
    async def ask(target: str, *, tenant: str = TENANT) -> Answer:
        async with service.get(target, headers=identity_headers(tenant)) as answer:
            return Answer(answer.status, await answer.json(), answer.headers)

    return ask
