"""The real analytics service on a real MongoDB."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiohttp.test_utils import TestClient
from analytics_factories import PUBLIC_KEY, Ask, asking

from voice_analytics.app import create_app
from voice_analytics.query import CallSums
from voice_analytics.settings import AnalyticsSettings
from voice_common.mongo import Database
from voice_local.servers import Server


@pytest.fixture
async def service(
    mongo_server: Server, database: Database, aiohttp_client: Callable[..., Awaitable[TestClient[Any, Any]]]
) -> TestClient[Any, Any]:
    settings = AnalyticsSettings(
        mongo_url=mongo_server.url, mongo_database=database.name, identity_public_keys=[PUBLIC_KEY]
    )
    return await aiohttp_client(create_app(settings))


@pytest.fixture
def ask(service: TestClient[Any, Any]) -> Ask:
    return asking(service)


@pytest.fixture
def call_sums(database: Database) -> CallSums:
    return CallSums(database, store_seconds=2, scan_seconds=10)
