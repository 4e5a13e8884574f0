"""What refused requests, and strangers, cost the store: commands counted by PyMongo's own listener."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter

import pytest
from gateway_factories import OVERVIEW, RunGateway, make_token, until
from pymongo.monitoring import CommandFailedEvent, CommandListener, CommandStartedEvent, CommandSucceededEvent

from voice_common.mongo import Database
from voice_common.store.tenants import Tenant
from voice_common.telemetry import mongo as telemetry
from voice_common.web.health import Health
from voice_gateway.tokens import Token, TokenStore


class Commands(CommandListener):
    """Counts commands by what they read."""

    def __init__(self) -> None:
        self.seen = Counter[str]()

    def started(self, event: CommandStartedEvent) -> None:
        name = event.command_name
        self.seen[f"find {event.command[name]}" if name == "find" else name] += 1

    def succeeded(self, event: CommandSucceededEvent) -> None:
        """Pass: they are counted at their start."""

    def failed(self, event: CommandFailedEvent) -> None:
        """Pass: they are counted at their start."""


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> Commands:
    listener, listeners = Commands(), telemetry.listeners
    monkeypatch.setattr(telemetry, "listeners", lambda: [*listeners(), listener])
    return listener


def lookups(commands: Commands) -> int:
    return commands.seen["find api_tokens"] + commands.seen["find tenants"]


async def test_an_unknown_token_costs_one_look_up(commands: Commands, run_gateway: RunGateway) -> None:
    async with run_gateway() as gateway:
        for _ in range(3):
            assert (await gateway.get(OVERVIEW, "vst_" + "u" * 43)).status == 401
        assert lookups(commands) == 1
        await asyncio.gather(*(gateway.get(OVERVIEW, "vst_" + "w" * 43) for _ in range(20)))
        assert lookups(commands) == 2


class Reads:
    """Holds the look-ups of tokens until they may go on, and counts them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = self.most = 0
        self.go = asyncio.Event()
        find = TokenStore.find

        async def held(store: TokenStore, digest: str) -> tuple[Token, Tenant] | None:
            self.now += 1
            self.most = max(self.most, self.now)
            await self.go.wait()
            try:
                return await find(store, digest)
            finally:
                self.now -= 1

        monkeypatch.setattr(TokenStore, "find", held)

    async def until(self, count: int) -> None:
        await until(lambda: self.now >= count)


async def test_refused_requests_of_one_network_are_eight_store_reads_at_once_and_leave_others_theirs(
    run_gateway: RunGateway, token: str, database: Database, tenant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with run_gateway(trusted_proxies=["127.0.0.1"]) as gateway:
        reads, hosts = Reads(monkeypatch), itertools.count(1)

        async def ask(secret: str, network: str) -> int:
            reply = await gateway.get(OVERVIEW, secret, {"X-Forwarded-For": f"{network}::{next(hosts):x}"})
            return reply.status

        flood = [asyncio.create_task(ask(f"vst_{n:043d}", "2001:db8:0:1")) for n in range(200)]
        await reads.until(8)
        honest = asyncio.create_task(ask(token, "2001:db8:0:2"))
        await reads.until(9)
        reads.go.set()
        assert await honest == 200
        statuses = Counter(await asyncio.gather(*flood))
        assert statuses == {401: 30, 429: 170}
        assert reads.most == 9
        assert await ask(await make_token(database, tenant), "2001:db8:0:1") == 200


async def test_readiness_that_strangers_ask_for_pings_the_store_once_a_second(
    commands: Commands, run_gateway: RunGateway
) -> None:
    async with run_gateway() as gateway:
        commands.seen.clear()
        replies = await asyncio.gather(*(gateway.get("/readyz") for _ in range(50)))
        assert {reply.status for reply in replies} == {200}
        assert commands.seen["ping"] == 1


async def test_readiness_is_looked_at_again_after_a_second_and_draining_shows_at_once() -> None:
    looks, now = 0, 0.0

    async def look() -> None:
        nonlocal looks
        looks += 1
        if looks > 1:
            raise ConnectionError

    health = Health(clock=lambda: now)
    health.add("store", look)
    assert await health.is_ready()
    now = 0.9
    assert await health.is_ready()
    health.draining = True
    assert not await health.is_ready()
    assert looks == 1
    health.draining = False
    now = 1.0
    assert not await health.is_ready()
    assert looks == 2


async def test_the_limits_of_failures_are_one_for_a_network(run_gateway: RunGateway) -> None:
    async with run_gateway(trusted_proxies=["127.0.0.1"]) as behind:
        await behind.until_exact()
        replies = [await behind.get(OVERVIEW, None, {"X-Forwarded-For": f"2001:db8:77:1:{n:x}::1"}) for n in range(31)]
        assert [reply.status for reply in replies] == [401] * 30 + [429]
        other = await behind.get(OVERVIEW, None, {"X-Forwarded-For": "2001:db8:77:2::1"})
        assert other.status == 401
