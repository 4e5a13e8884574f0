from __future__ import annotations

import asyncio
import io
import time
from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from gateway_factories import Gated, Gateway, Services, says

PATHS = ["/api/webhooks/telnyx/voice", "/api/webhooks/telnyx/voice/conversational-ai"]


@pytest.mark.parametrize("path", PATHS)
async def test_a_webhook_is_passed_on_untouched_in_nobodys_name(
    gateway: Gateway, services: Services, path: str
) -> None:
    services.webhooks.answer = says(200, {"status": "accepted"})
    body = b'{"data": {"id":  "x"}}\n'
    sent = {"telnyx-signature-ed25519": "c2ln", "telnyx-timestamp": "1", "Content-Type": "application/json"}
    async with gateway.session.post(gateway.url + path, data=body, headers=sent) as reply:
        assert (reply.status, await reply.json()) == (200, {"status": "accepted"})
        assert reply.headers["Cache-Control"] == "private, no-store"
    (seen,) = services.webhooks.seen
    assert (seen.method, seen.target, seen.body) == ("POST", path, body)
    assert seen.identity is not None
    assert (seen.identity.tenant, seen.identity.scopes) == (None, frozenset())
    for name, value in sent.items():
        assert seen.headers[name] == value


async def _chunks(count: int) -> AsyncIterator[bytes]:
    for _ in range(count):
        yield b"x" * 65536


async def test_a_body_over_1_mib_is_a_413_chunked_or_not(gateway: Gateway, services: Services) -> None:
    url = gateway.url + PATHS[0]
    for body in (io.BytesIO(b"x" * (1024 * 1024 + 1)), _chunks(32)):
        async with gateway.session.post(url, data=body) as reply:
            assert (reply.status, await reply.json()) == (413, {"error": "Request body is too large"})
    assert services.webhooks.seen == []
    for body in (io.BytesIO(b"x" * 1024 * 1024), _chunks(16)):
        async with gateway.session.post(url, data=body) as reply:
            assert reply.status == 200
    assert [len(seen.body) for seen in services.webhooks.seen] == [1024 * 1024] * 2


async def test_every_answer_comes_within_one_and_a_half_seconds(gateway: Gateway, services: Services) -> None:
    async def asleep(_request: web.Request) -> web.Response:
        await asyncio.sleep(10)
        return web.Response()

    async def slow_body() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.sleep(10)
        yield b"}"

    async def answer_to(body: bytes | AsyncIterator[bytes]) -> tuple[int, str, str | None]:
        started = time.monotonic()
        async with gateway.session.post(gateway.url + PATHS[0], data=body) as reply:
            assert time.monotonic() - started < 1.5
            return reply.status, (await reply.json())["error"], reply.headers.get("Retry-After")

    services.webhooks.answer = asleep
    ours, the_clients = await asyncio.gather(answer_to(b"{}"), answer_to(slow_body()))
    assert ours == (503, "Service unavailable", "1")
    assert the_clients == (408, "The request took too long to arrive", None)


async def test_a_hanging_service_opens_the_circuit_also_where_bodies_take_their_time(
    gateway: Gateway, services: Services
) -> None:
    gated = services.webhooks.answer = Gated()

    async def slowly() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.sleep(0.2)
        yield b"}"

    for _ in range(5):
        async with gateway.session.post(gateway.url + PATHS[0], data=slowly()) as answer:
            assert answer.status == 503
    assert gated.begun == 5
    async with gateway.session.get(gateway.ops_url + "/metrics") as answer:
        assert 'voice_gateway_breaker_open{upstream="webhooks"} 1.0' in await answer.text()


async def test_a_service_that_is_down_is_a_503_for_telnyx_to_try_again(gateway: Gateway, services: Services) -> None:
    await services.webhooks.stop()
    async with gateway.session.post(gateway.url + PATHS[0], data=b"{}") as reply:
        assert (reply.status, reply.headers["Retry-After"]) == (503, "1")
        assert reply.headers["Content-Type"].startswith("application/json")


async def test_other_methods_are_a_405(gateway: Gateway) -> None:
    for path in PATHS:
        reply = await gateway.get(path)
        assert (reply.status, reply.headers["Allow"]) == (405, "POST")
