"""One running stack for all end-to-end tests, stopped when they are over; each test makes tenants of its own."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Iterator
from ipaddress import IPv4Address

import aiohttp
import pytest
from e2e_factories import TRUSTING, RunningStack, World, open_database, start_stack

from voice_local.servers import free_port


@pytest.fixture(scope="package")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    running = start_stack(
        tmp_path_factory.mktemp("stack") / "data", free_port(), "--no-demo", "--workers", "2", environment=TRUSTING
    )
    try:
        running.wait_for("ready")
        yield running
    finally:
        running.stop()


# An address for each test: what one sends without a good token would use up what the next may.
_ADDRESSES = itertools.count(int(IPv4Address("127.0.1.1")))


@pytest.fixture
async def world(stack: RunningStack) -> AsyncIterator[World]:
    database = open_database(stack.described()["mongo_url"])
    connector = aiohttp.TCPConnector(local_addr=(str(IPv4Address(next(_ADDRESSES))), 0))
    async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=10)) as session:
        yield World(stack, database, session)
    await database.client.close()
