"""The cache that several gateways share in Redis."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
import redis
from gateway_factories import (
    NO_CACHE,
    OVERVIEW,
    TIMELINE,
    Gated,
    RunGateway,
    Services,
    says,
    until,
)

from voice_gateway import cache, limiter
from voice_gateway import shared_level as shared_level_module
from voice_gateway.answers import Answer
from voice_gateway.cache import Cache, Fetched, Outcome, Question
from voice_gateway.memory_level import MemoryLevel
from voice_gateway.shared_level import SharedLevel, Turn
from voice_local.servers import Server

LONGEST_WAIT = limiter._PATIENCE + shared_level_module._WAIT

pytestmark = pytest.mark.usefixtures("patient_with_redis")


async def test_no_cache_on_one_gateway_replaces_what_another_keeps(
    run_gateway: RunGateway, services: Services, token: str
) -> None:
    async with run_gateway() as one, run_gateway() as two:
        await one.until_exact()
        await two.until_exact()
        assert (await one.get(OVERVIEW, token)).json() == {"count": 1}
        shared = await two.get(OVERVIEW, token)
        assert (shared.json(), shared.headers["X-Cache"]) == ({"count": 1}, "HIT")
        for n in range(2, 6):
            asked, other = (one, two) if n % 2 else (two, one)
            assert (await asked.get(OVERVIEW, token, NO_CACHE)).json() == {"count": n}
            assert (await other.get(OVERVIEW, token)).json() == {"count": n}
    assert len(services.analytics.seen) == 5


async def test_two_gateways_that_miss_the_same_at_once_make_one_request(
    run_gateway: RunGateway, services: Services, token: str
) -> None:
    gated = services.analytics.answer = Gated()
    async with run_gateway() as one, run_gateway() as two:
        await one.until_exact()
        await two.until_exact()
        first = asyncio.create_task(one.get(OVERVIEW, token))
        await until(lambda: gated.begun == 1)
        others = [asyncio.create_task(two.get(OVERVIEW, token)) for _ in range(3)]
        await asyncio.sleep(0.05)
        gated.gates[0].set()
        replies = [await first, *await asyncio.gather(*others)]
        assert [reply.json() for reply in replies] == [{"number": 1}] * 4
        assert [reply.headers["X-Cache"] for reply in replies] == ["MISS", "HIT", "HIT", "HIT"]
        again = [await each.get(OVERVIEW, token) for each in (one, two)]
    assert {reply.headers["X-Cache"] for reply in again} == {"HIT"}
    assert gated.begun == 1


async def test_a_gateway_asks_itself_when_the_one_whose_turn_it_is_takes_long_or_fails(
    run_gateway: RunGateway, services: Services, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    gated = services.analytics.answer = Gated()
    async with run_gateway() as one, run_gateway() as two:
        await one.until_exact()
        await two.until_exact()
        slow = asyncio.create_task(one.get(OVERVIEW, token))
        await until(lambda: gated.begun == 1)
        asked = time.monotonic()
        own = asyncio.create_task(two.get(OVERVIEW, token))
        await until(lambda: gated.begun == 2)
        assert time.monotonic() - asked > cache._OTHERS_SECONDS - 0.05
        gated.gates[1].set()
        assert (await own).json() == {"number": 2}
        gated.gates[0].set()
        assert (await slow).json() == {"number": 1}
        async with run_gateway() as three:
            await three.until_exact()
            kept = await three.get(OVERVIEW, token)
            assert (kept.json(), kept.headers["X-Cache"]) == ({"number": 2}, "HIT"), "the older one came later"
        services.analytics.answer = says(500, {"error": "Internal server error"})
        assert (await one.get(TIMELINE, token)).status == 500
        services.analytics.answer = None
        monkeypatch.setattr(cache, "_OTHERS_SECONDS", 60.0)
        asked = time.monotonic()
        assert (await two.get(TIMELINE, token)).status == 200
        assert time.monotonic() - asked < 10, "a failure passes the turn on at once"


async def test_no_cache_joins_no_other_gateways_request_and_takes_no_turn(
    run_gateway: RunGateway, services: Services, token: str
) -> None:
    gated = services.analytics.answer = Gated()
    async with run_gateway() as one, run_gateway() as two:
        await one.until_exact()
        await two.until_exact()
        plain = asyncio.create_task(one.get(OVERVIEW, token))
        await until(lambda: gated.begun == 1)
        fresh = asyncio.create_task(two.get(OVERVIEW, token, NO_CACHE))
        await until(lambda: gated.begun == 2)
        gated.gates[1].set()
        assert (await fresh).json() == {"number": 2}
        gated.gates[0].set()
        assert (await plain).json() == {"number": 1}
        for each in (one, two):
            kept = await each.get(OVERVIEW, token)
            assert (kept.json(), kept.headers["X-Cache"]) == ({"number": 2}, "HIT")


async def test_a_request_that_came_after_a_replacement_by_demand_joins_none_that_began_before_it(
    run_gateway: RunGateway, services: Services, token: str
) -> None:
    gated = services.analytics.answer = Gated()
    async with run_gateway() as one, run_gateway() as two:
        await one.until_exact()
        await two.until_exact()
        early = asyncio.create_task(one.get(OVERVIEW, token))
        await until(lambda: gated.begun == 1)
        fresh = asyncio.create_task(two.get(OVERVIEW, token, NO_CACHE))
        await until(lambda: gated.begun == 2)
        gated.gates[1].set()
        assert (await fresh).json() == {"number": 2}
        for headers in ({}, {"Cache-Control": "no-store"}):
            late = await one.get(OVERVIEW, token, headers)
            assert (late.json(), late.headers["X-Cache"]) == ({"number": 2}, "HIT")
        gated.gates[0].set()
        assert (await early).json() == {"number": 1}
        assert (await one.get(OVERVIEW, token)).json() == {"number": 2}


async def test_what_a_flight_found_is_given_to_nobody_who_knows_that_it_is_replaced(
    redis_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked, going_on = asyncio.Event(), asyncio.Event()

    async def nobody() -> Fetched:
        raise AssertionError

    async with shared_level(redis_server.url) as level:
        level.put("k", Answer(b"old", 50), 0)
        assert await level.get("k") is not None
        look = level.look

        async def slow_look(key: str, fresh_after_us: int) -> tuple[Answer | None, Turn]:
            found = await look(key, fresh_after_us)
            looked.set()
            await going_on.wait()
            return found

        monkeypatch.setattr(level, "look", slow_look)
        cache = Cache(MemoryLevel(10_000), level, clock=lambda: 100)
        early = asyncio.create_task(cache.find(Question("k", "t", 60, 0), nobody))
        await looked.wait()
        level.put("k", Answer(b"new", 90), 0)
        late = asyncio.create_task(cache.find(Question("k", "t", 60, 90), nobody))
        await asyncio.sleep(0)
        going_on.set()
        for task, body in ((early, b"old"), (late, b"new")):
            outcome, found = await task
            assert isinstance(found, Answer)
            assert (outcome, found.body) == (Outcome.HIT, body)


async def test_an_answer_that_was_replaced_by_demand_is_not_given_once_redis_has_lost_its_successor(
    run_gateway: RunGateway, redis_server: Server, token: str
) -> None:
    async with run_gateway() as one, run_gateway() as two:
        await one.until_exact()
        await two.until_exact()
        assert (await one.get(OVERVIEW, token)).json() == {"count": 1}
        assert (await two.get(OVERVIEW, token, NO_CACHE)).json() == {"count": 2}
        with redis.Redis.from_url(redis_server.url) as client:
            for key in client.scan_iter("voice:cache:*"):
                client.delete(key)
        assert (await one.get(OVERVIEW, token)).json() == {"count": 3}


async def test_an_older_mark_never_overwrites_a_newer_one(redis_server: Server) -> None:
    with redis.Redis.from_url(redis_server.url) as client:
        async with shared_level(redis_server.url) as level:
            for at, known in ((7, 7), (6, 7), (8, 8)):
                await level.mark_refreshed("t", at)
                assert int(client.get(limiter.refreshed_key("t")) or 0) == known


async def test_a_turn_is_one_gateways_and_only_it_can_pass_it_on(redis_server: Server) -> None:
    async with shared_level(redis_server.url) as one, shared_level(redis_server.url) as two:
        assert await one.look("k", 5) == (None, Turn.OURS)
        assert await two.look("k", 5) == (None, Turn.ANOTHERS)
        two.pass_turn("k")
        assert await two.look("k", 5) == (None, Turn.ANOTHERS)
        one.put("k", Answer(b"{}", 6), 0)
        one.pass_turn("k")
        assert await one.get("k") is not None
        for after, turn in ((5, Turn.ANOTHERS), (6, Turn.OURS)):
            answer, whose = await two.look("k", after)
            assert answer is not None
            assert (answer.computed_us, whose) == (6, turn), "a fresh answer gives nobody a turn"


@asynccontextmanager
async def shared_level(url: str, max_bytes: int = 20_000) -> AsyncIterator[SharedLevel]:
    level = SharedLevel(url, max_bytes=max_bytes, keep_seconds=600)
    tasks = {asyncio.create_task(level.run())}
    await until(lambda: level._lane.is_up)
    yield level
    while tasks:  # a cancellation can be lost in redis-py
        for task in tasks:
            task.cancel()
        _, tasks = await asyncio.wait(tasks, timeout=0.1)


async def test_the_shared_level_keeps_to_its_share_and_to_the_newer_answer(redis_server: Server) -> None:
    async with shared_level(redis_server.url, 20_200) as level:
        await keeps_to_its_share(level)


async def keeps_to_its_share(level: SharedLevel) -> None:
    for n in range(50):
        level.put(f"k{n}", Answer(b"x" * 1600, 1000 + n), 0)
    kept = [n for n in range(50) if await level.get(f"k{n}") is not None]
    assert len(kept) == 10
    assert 49 in kept
    level.put("k49", Answer(b"older", 5), 0)
    newest = await level.get("k49")
    assert newest is not None
    assert newest.computed_us == 1049
    for n in range(30):
        level.put("k49", Answer(b"y" * 1600, 2000 + n), 0)
    still = [n for n in range(50) if await level.get(f"k{n}") is not None]
    assert still == kept, "replacing one evicts no other"


@asynccontextmanager
async def slow_link(port: int) -> AsyncIterator[tuple[int, Callable[[float], None]]]:
    """Listen before a server and hand all on late, both ways; give the port, and how to set by how many seconds."""
    late = 0.0
    loop = asyncio.get_running_loop()
    links: list[asyncio.Task[None]] = []

    async def hand_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                loop.call_later(late, writer.write, data)
        finally:
            writer.transport.abort()

    async def link(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_server, to_server = await asyncio.open_connection("127.0.0.1", port)
        links.append(asyncio.create_task(hand_on(reader, to_server)))
        links.append(asyncio.create_task(hand_on(from_server, writer)))

    def set_late(seconds: float) -> None:
        nonlocal late
        late = seconds

    server = await asyncio.start_server(link, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1], set_late
    server.close()
    for each in links:
        each.cancel()
    await asyncio.gather(*links, return_exceptions=True)


async def test_a_demanded_answer_is_given_once_every_gateway_can_know_of_it(
    run_gateway: RunGateway, redis_server: Server, token: str
) -> None:
    async with (
        slow_link(redis_server.port) as (port, set_late),
        run_gateway(redis_url=f"redis://127.0.0.1:{port}/0") as far,
        run_gateway() as near,
    ):
        await far.until_exact()
        await near.until_exact()
        assert (await near.get(OVERVIEW, token)).json() == {"count": 1}
        set_late(0.1)
        assert (await far.get(OVERVIEW, token, NO_CACHE)).json() == {"count": 2}
        assert (await near.get(OVERVIEW, token)).json() == {"count": 2}


async def test_no_request_waits_longer_for_a_slow_redis_than_the_limits_leave_of_50_ms(
    redis_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert LONGEST_WAIT <= 0.05
    async with slow_link(redis_server.port) as (port, set_late):
        url = f"redis://127.0.0.1:{port}/0"
        async with shared_level(url) as level:
            assert await level.look("k", 5) == (None, Turn.OURS)
            level.pass_turn("k")
            assert await level.get("k") is None
            set_late(1.0)
            monkeypatch.setattr(shared_level_module, "_WAIT", 0.01)
            asks = (lambda: level.get("k"), lambda: level.look("k", 5), lambda: level.mark_refreshed("t", 6))
            for ask in asks:
                started = time.monotonic()
                assert await ask() in (None, (None, Turn.ANYBODYS))
                assert time.monotonic() - started < 0.5
            assert level._lane.is_up


async def test_an_unexpected_failure_is_everybodys_500_and_not_forgotten(redis_server: Server) -> None:
    question = Question("k", "t", 60, 0)

    async def broken() -> Fetched:
        message = "a fault"
        raise RuntimeError(message)

    async def mended() -> Fetched:
        return Fetched(200, b"{}", {})

    async with shared_level(redis_server.url) as level:
        cache = Cache(MemoryLevel(10_000), level)
        with pytest.raises(Exception, match="Internal server error"):
            await cache.find(question, broken)
        assert (await cache.find(question, mended))[0] is Outcome.MISS
