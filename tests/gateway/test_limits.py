from __future__ import annotations

import asyncio
import math
import signal
import time
from pathlib import Path

import pytest
from gateway_factories import (
    CONVERSATIONS,
    OVERVIEW,
    Clock,
    Gateway,
    RunGateway,
    Services,
    make_tenant,
    make_token,
    says,
    until,
)
from pausing import pause
from structlog.testing import capture_logs

from voice_common.mongo import Database
from voice_common.store.tenants import AreaName
from voice_gateway.app import LIMITER
from voice_gateway.limiter import Limiter
from voice_local.servers import Server, free_port, start_redis


async def test_sixty_of_61_requests_succeed_over_two_gateways_and_two_tokens(
    run_gateway: RunGateway, database: Database, tenant: str, token: str
) -> None:
    second = await make_token(database, tenant)
    async with run_gateway() as one, run_gateway() as two:
        await one.until_exact()
        await two.until_exact()
        started = time.time()
        replies = await asyncio.gather(
            *((one if n % 2 else two).get(OVERVIEW, token if n % 3 else second) for n in range(61))
        )
        ended = time.time()
    assert sorted(reply.status for reply in replies) == [200] * 60 + [429]
    assert sorted(int(reply.headers["X-RateLimit-Remaining"]) for reply in replies) == [0, *range(60)]
    for reply in replies:
        headers = reply.headers
        assert headers["X-RateLimit-Limit"] == "60"
        assert started + 58 <= int(headers["X-RateLimit-Reset"]) <= math.ceil(ended + 60)
        assert headers["RateLimit-Policy"] == '"analytics";q=60;w=60'
        assert headers["RateLimit"].startswith(f'"analytics";r={headers["X-RateLimit-Remaining"]};t=')
    (refused,) = (reply for reply in replies if reply.status == 429)
    assert refused.json() == {"error": "Rate limit exceeded"}
    assert 58 <= int(refused.headers["Retry-After"]) <= 60
    assert refused.headers["Cache-Control"] == "private, no-store"


async def test_a_tenant_over_its_limit_is_refused_without_asking_redis(gateway: Gateway, token: str) -> None:
    for _ in range(61):
        last = await gateway.get(OVERVIEW, token)
    assert last.status == 429
    lane = gateway.app[LIMITER]._lane
    asked = lane.asked
    again = [await gateway.get(OVERVIEW, token) for _ in range(5)]
    assert [reply.status for reply in again] == [429] * 5
    assert lane.asked == asked
    assert "X-RateLimit-Reset" in again[0].headers


async def test_who_was_refused_is_counted_anew_as_soon_as_one_is_free(redis_server: Server) -> None:
    clock = Clock()
    limiter = Limiter(redis_server.url, processes=1, clock=clock)
    task = asyncio.create_task(limiter.run())
    await until(lambda: not limiter.is_degraded)
    for allowed in (True, True, False, False):
        assert (await limiter.check("who", "what", 2)).allowed is allowed
    asked = limiter._lane.asked
    clock.ahead += 59
    refused = await limiter.check("who", "what", 2)
    assert not refused.allowed
    assert 0 < refused.free_in <= 1
    assert limiter._lane.asked == asked
    clock.ahead += 2  # by Redis' own clock it is too early: it says so again
    assert not (await limiter.check("who", "what", 2)).allowed
    assert limiter._lane.asked == asked + 1
    assert (await limiter.check("other", "what", 2)).allowed
    while not task.done():  # a cancellation can be lost in redis-py
        task.cancel()
        await asyncio.wait([task], timeout=0.1)


async def test_areas_are_counted_apart_and_a_tenant_can_have_its_own_figure(
    gateway: Gateway, database: Database
) -> None:
    token = await make_token(database, await make_tenant(database, limits={AreaName.CONVERSATIONS: 2}))
    statuses = [(await gateway.get(CONVERSATIONS, token)).status for _ in range(3)]
    assert statuses == [200, 200, 429]
    other = await gateway.get(OVERVIEW, token)
    assert (other.status, other.headers["X-RateLimit-Limit"]) == (200, "60")
    recording = await gateway.get("/api/voice/recordings/abc", token)
    assert recording.headers["RateLimit-Policy"] == '"recordings";q=30;w=60'


async def test_every_authenticated_response_says_what_is_left(
    gateway: Gateway, services: Services, database: Database, tenant: str
) -> None:
    narrow = await make_token(database, tenant, ["analytics:read"])
    forbidden = await gateway.get(CONVERSATIONS, narrow)
    first = await gateway.get(OVERVIEW, narrow)
    unchanged = await gateway.get(OVERVIEW, narrow, {"If-None-Match": first.headers["ETag"]})
    services.recordings.answer = says(404, {"error": "Conversation not found"})
    wide = await make_token(database, tenant)
    missing = await gateway.get(f"{CONVERSATIONS}/x", wide)
    services.recordings.answer = says(500, {"detail": "no JSON error of ours"})
    broken = await gateway.get(f"{CONVERSATIONS}/x", wide)
    bad = await gateway.get(f"{OVERVIEW}?what=1", narrow)
    replies = [forbidden, first, unchanged, missing, broken, bad]
    assert [reply.status for reply in replies] == [403, 200, 304, 404, 500, 200]
    assert [int(reply.headers["X-RateLimit-Remaining"]) for reply in replies] == [119, 59, 58, 118, 117, 57]


async def test_failing_authentication_is_limited_by_address_and_good_tokens_are_not(
    run_gateway: RunGateway, token: str
) -> None:
    address = f"2001:db8::{time.time_ns() % 65535:x}"
    forwarded = {"X-Forwarded-For": f"spoofed, {address}"}
    async with run_gateway(trusted_proxies=["127.0.0.1"]) as gateway:
        await gateway.until_exact()
        with capture_logs() as logs:
            bad = await asyncio.gather(
                *(gateway.get(OVERVIEW, f"vst_{n:043d}" if n % 2 else None, forwarded) for n in range(32))
            )
        lines = [each for each in logs if each["event"] == "authentication failed"]
        assert sorted(each["slowed"] for each in lines) == [False] * 30 + [True] * 2
        assert {each["address"] for each in lines} == {address}
        assert sorted(reply.status for reply in bad) == [401] * 30 + [429] * 2
        slowed = next(reply for reply in bad if reply.status == 429)
        assert slowed.json() == {"error": "Rate limit exceeded"}
        assert 1 <= int(slowed.headers["Retry-After"]) <= 60
        assert "X-RateLimit-Limit" not in slowed.headers
        assert (await gateway.get(OVERVIEW, token, forwarded)).status == 200
        assert (await gateway.get(OVERVIEW, None, {"X-Forwarded-For": "2001:db8:1::1"})).status == 401


async def test_an_untrusted_peers_forwarded_for_is_not_believed(run_gateway: RunGateway) -> None:
    async with run_gateway(trusted_proxies=["10.0.0.0/8"]) as gateway:
        await gateway.until_exact()
        replies = [await gateway.get(OVERVIEW, None, {"X-Forwarded-For": f"192.0.2.{n}"}) for n in range(31)]
    assert replies[-1].status == 429


async def test_webhooks_are_not_counted(gateway: Gateway, services: Services) -> None:
    services.webhooks.answer = says(401, {"error": "Invalid webhook signature"})
    for _ in range(35):
        async with gateway.session.post(f"{gateway.url}/api/webhooks/telnyx/voice", data=b"{}") as answer:
            assert answer.status == 401
            assert "X-RateLimit-Limit" not in answer.headers
            assert "WWW-Authenticate" not in answer.headers


async def test_without_redis_each_process_limits_at_its_share(run_gateway: RunGateway, token: str) -> None:
    async with run_gateway(redis_url=f"redis://127.0.0.1:{free_port()}/0", gateway_processes=4) as gateway:
        replies = [await gateway.get(OVERVIEW, token) for _ in range(16)]
        metrics = await gateway.session.get(f"{gateway.ops_url}/metrics")
        assert "voice_gateway_limiter_degraded 1.0" in await metrics.text()
    assert [reply.status for reply in replies] == [200] * 15 + [429]
    assert replies[-1].headers["X-RateLimit-Limit"] == "60"
    assert replies[-1].headers["X-RateLimit-Remaining"] == "0"


async def test_a_share_is_at_least_one(run_gateway: RunGateway, token: str) -> None:
    async with run_gateway(redis_url=f"redis://127.0.0.1:{free_port()}/0", gateway_processes=500) as gateway:
        assert [(await gateway.get(OVERVIEW, token)).status for _ in range(2)] == [200, 429]


async def test_a_redis_that_dies_or_stalls_costs_no_request_more_than_50_ms_and_is_found_again(
    run_gateway: RunGateway, database: Database, tmp_path: Path
) -> None:
    token = await make_token(database, await make_tenant(database, limits={AreaName.ANALYTICS: 1000}))
    redis = start_redis(tmp_path / "redis")
    try:
        async with run_gateway(redis_url=redis.url) as gateway:
            await gateway.until_exact()
            assert (await gateway.get(OVERVIEW, token)).status == 200
            pause(redis.process)
            took = []
            for _ in range(20):
                started = time.monotonic()
                assert (await gateway.get(OVERVIEW, token)).status == 200
                took.append(time.monotonic() - started)
            assert gateway.app[LIMITER].is_degraded
            assert sorted(took)[len(took) // 2] < 0.03, "only who finds out may wait"
            redis.process.send_signal(signal.SIGCONT)
            await gateway.until_exact()
            redis.process.kill()
            redis.process.wait()
            await until(lambda: gateway.app[LIMITER].is_degraded)
            assert (await gateway.get(OVERVIEW, token)).status == 200
            redis = start_redis(tmp_path / "redis", port=redis.port)
            await gateway.until_exact()
            exact = await gateway.get(OVERVIEW, token)
            assert exact.headers["X-RateLimit-Remaining"] == "999"
    finally:
        redis.process.send_signal(signal.SIGCONT)
        redis.stop()


async def test_a_forgotten_script_is_loaded_again(gateway: Gateway, redis_server: Server, token: str) -> None:
    import redis.asyncio  # noqa: PLC0415 - the one test that asks by itself

    client = redis.asyncio.from_url(redis_server.url)
    await client.script_flush()
    await client.aclose()
    assert (await gateway.get(OVERVIEW, token)).status == 200
    await gateway.until_exact()
    assert (await gateway.get(OVERVIEW, token)).status == 200


@pytest.mark.parametrize("path", [OVERVIEW, CONVERSATIONS])
async def test_a_caller_that_leaves_while_it_is_counted_breaks_nothing(gateway: Gateway, token: str, path: str) -> None:
    tasks = [asyncio.create_task(gateway.get(path, token)) for _ in range(10)]
    await asyncio.sleep(0)
    for task in tasks[:5]:
        task.cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(getattr(result, "status", 200) == 200 for result in results[5:])
    assert (await gateway.get(path, token)).status == 200
