"""Redis is paused, killed, emptied and restarted under load: limits hold, nobody passes unknown, nothing fails."""

from __future__ import annotations

import asyncio
import itertools
import re
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import pytest
import redis
from chaos_factories import Balancer, Reply, Running, all_running
from gateway_factories import (
    CONVERSATIONS,
    OVERVIEW,
    PRIVATE_KEY,
    Services,
    make_customers,
    make_tenant,
    make_token,
    until,
)
from pausing import pause

from voice_common.mongo import Database
from voice_common.store.tenants import AreaName
from voice_gateway.tokens import TokenStore, digest_of
from voice_local.servers import Server, free_port, start_redis

LIMIT = 20
BOUND = 0.05
"""Seconds that Redis may cost a request."""


@dataclass
class World:
    """Two gateway processes on a Redis of their own, and clients that go on whatever happens to it."""

    database: Database
    balancer: Balancer
    gateways: list[Running]
    redis: Server
    data: Path
    good: list[str] = field(default_factory=list)
    bad: list[str | None] = field(default_factory=list)
    passed: list[int] = field(default_factory=list)
    stopping: bool = False

    async def run(self) -> None:
        """Ask with good tokens and bad ones until `stopping`."""
        await asyncio.gather(*(self._ask(token) for token in self.good), self._knock())

    async def _ask(self, token: str) -> None:
        for number in itertools.count():
            if self.stopping:
                return
            fresh = {"Cache-Control": "no-cache"} if number % 3 == 0 else {}
            await self.balancer.get(CONVERSATIONS if number % 2 else OVERVIEW, token, **fresh)
            await asyncio.sleep(0.02)

    async def _knock(self) -> None:
        for token in itertools.cycle(self.bad):
            if self.stopping:
                return
            self.passed.append(await self.balancer.get(CONVERSATIONS, token))
            await asyncio.sleep(0.02)

    async def metered(self) -> str:
        """Make a tenant that may send `LIMIT` requests a minute; give its token."""
        tenant = await make_tenant(self.database, limits={AreaName.ANALYTICS: LIMIT})
        return await make_token(self.database, tenant)

    async def admitted(self, token: str, requests: int = 3 * LIMIT) -> int:
        """Send requests to both gateways; give how many were admitted."""
        statuses = [await self.balancer.get(OVERVIEW, token) for _ in range(requests)]
        assert set(statuses) <= {200, 429}
        return statuses.count(200)

    async def degraded(self) -> int:
        """Give how many gateways limit by themselves."""
        count = 0
        async with aiohttp.ClientSession() as session:
            for gateway in self.gateways:
                port = gateway.settings["VOICE_METRICS_PORT"]
                async with session.get(f"http://127.0.0.1:{port}/metrics") as response:
                    found = re.search(r"^voice_gateway_limiter_degraded (\S+)", await response.text(), re.MULTILINE)
                assert found is not None
                count += float(found[1]) > 0
        return count

    async def until_degraded(self, gateways: int) -> None:
        """Wait until so many gateways limit by themselves."""
        deadline = time.monotonic() + 10
        while await self.degraded() != gateways:
            assert time.monotonic() < deadline, "the gateways did not notice"
            await asyncio.sleep(0.05)


@pytest.fixture
async def world(database: Database, mongo_server: Server, tmp_path: Path) -> AsyncIterator[World]:
    services = Services()
    for service in services.all():
        await service.start()
    own = start_redis(tmp_path / "redis")
    settings = {
        "VOICE_MONGO_URL": mongo_server.url,
        "VOICE_MONGO_DATABASE": database.name,
        "VOICE_REDIS_URL": own.url,
        "VOICE_GATEWAY_PROCESSES": "2",
        "VOICE_IDENTITY_PRIVATE_KEY": PRIVATE_KEY,
        **{f"VOICE_{service.name.upper()}_URL": service.url for service in services.all()},
    }
    gateways = [
        Running("voice_gateway", settings | {"VOICE_METRICS_PORT": str(free_port())}, tmp_path / f"{number}.log")
        for number in range(2)
    ]
    async with aiohttp.ClientSession() as session, all_running(*gateways):
        made = World(database, Balancer(session, [each.url for each in gateways]), gateways, own, tmp_path / "redis")
        made.good = await make_customers(database, 3)
        revoked = await make_token(database, await make_tenant(database))
        await TokenStore(database).revoke(digest_of(revoked)[:16])
        made.bad = [None, "vst_" + "x" * 43, revoked, "a.b.c"]
        await made.until_degraded(0)
        yield made
    made.redis.process.send_signal(signal.SIGCONT)
    made.redis.stop()
    for service in services.all():
        await service.stop()


@asynccontextmanager
async def under_load(world: World) -> AsyncIterator[Callable[[], list[Reply]]]:
    """Have clients ask all the while; gives what was answered since it was last called."""
    running = asyncio.create_task(world.run())
    seen = 0

    def since() -> list[Reply]:
        nonlocal seen
        replies = world.balancer.replies[seen:]
        seen = len(world.balancer.replies)
        return replies

    await until(lambda: len(world.balancer.replies) > 50)
    try:
        yield since
    finally:
        world.stopping = True
        await running
    assert {reply.status for reply in world.balancer.replies} <= {200, 401, 429}
    assert 401 in world.passed
    assert set(world.passed) <= {401, 429}, "no request without authentication passes"


def slow(replies: list[Reply]) -> float:
    """Give the seconds that all but 2 % of the requests were quicker than: a busy machine has its moments."""
    return sorted(reply.took for reply in replies)[len(replies) * 98 // 100]


async def test_a_redis_that_is_paused_costs_no_request_more_than_50_ms_and_nothing_else(world: World) -> None:
    token = await world.metered()
    async with under_load(world) as since:
        assert await world.admitted(token, 5) == 5
        calm = slow(since())
        pause(world.redis.process)
        try:
            await world.until_degraded(2)
            assert await world.admitted(token) == LIMIT, "a share of half the limit in each of two processes"
            paused = slow(since())
        finally:
            world.redis.process.send_signal(signal.SIGCONT)
        await world.until_degraded(0)
        assert await world.admitted(token) == LIMIT - 5, "Redis has kept what it counted before"
        since()
    assert paused < BOUND + max(3 * calm, 0.1)


async def killed(world: World) -> None:
    world.redis.process.kill()
    world.redis.process.wait()
    await world.until_degraded(2)


async def restarted(world: World) -> None:
    world.redis = await asyncio.to_thread(start_redis, world.data, port=world.redis.port)
    await world.until_degraded(0)


async def test_a_redis_that_loses_what_it_knows_admits_one_extra_allowance_and_breaks_nothing(world: World) -> None:
    token, later, emptied = [await world.metered() for _ in range(3)]
    async with under_load(world) as since:
        assert await world.admitted(token) == LIMIT
        calm = slow(since())
        await killed(world)
        known, unknown = await world.admitted(token), await world.admitted(later)
        down = slow(since())
        assert known == 0, "who is known to be over the limit stays refused"
        assert unknown == LIMIT, "a share of half the limit in each of two processes"
        await restarted(world)
        assert await world.admitted(token) <= LIMIT
        assert await world.admitted(later) == LIMIT
        assert await world.admitted(later) == 0
        for _ in range(2):
            await killed(world)
            await restarted(world)
        assert await world.admitted(emptied, 5) == 5
        with redis.Redis.from_url(world.redis.url) as client:
            client.flushall()
            assert await world.admitted(emptied) == LIMIT
            client.script_flush()
        await world.until_degraded(0)
        assert await world.admitted(await world.metered()) <= 2 * LIMIT, "some at a share while scripts are loaded"
        assert await world.admitted(await world.metered()) == LIMIT, "the limits are exact again"
    assert down < BOUND + max(3 * calm, 0.1)
