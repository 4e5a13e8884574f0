"""Scripts on an allowed origin may read every error, whoever made it: without, they see none of it."""

from __future__ import annotations

import pytest
from gateway_factories import (
    CONVERSATIONS,
    OVERVIEW,
    Gateway,
    RunGateway,
    Services,
    make_tenant,
    make_token,
    says,
)
from raw_http import answers_in, exchange

from voice_common.mongo import Database
from voice_gateway import upstream
from voice_gateway.gate import FAILURES_PER_MINUTE

ORIGIN = "https://app.example.com"
OTHER = "https://evil.example.com"


async def _may_read(gateway: Gateway, status: int, path: str, token: str | None = None, method: str = "GET") -> None:
    reply = await gateway.get(path, token, {"Origin": ORIGIN}, method)
    assert reply.status == status
    assert reply.headers.getall("Access-Control-Allow-Origin") == [ORIGIN], path
    assert "WWW-Authenticate" in reply.headers["Access-Control-Expose-Headers"].split(",")
    assert "Origin" in reply.headers["Vary"]
    reply = await gateway.get(path, token, {"Origin": OTHER}, method)
    assert not [name for name in reply.headers if name.startswith("Access-Control")]


async def test_errors_of_routes_and_of_none_can_be_read(
    run_gateway: RunGateway, services: Services, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upstream, "_RESTART_SECONDS", 0.0)
    async with run_gateway(cors_origins=[ORIGIN]) as gateway:
        await _may_read(gateway, 401, CONVERSATIONS)
        await _may_read(gateway, 404, "/api/nope", token)
        await _may_read(gateway, 405, CONVERSATIONS, token, "DELETE")
        await _may_read(gateway, 405, CONVERSATIONS, token, "BREW")
        await _may_read(gateway, 400, f"{CONVERSATIONS}/%00", token)
        for status in (404, 500, 503):
            services.recordings.answer = says(status, {"error": "No"})
            await _may_read(gateway, status, CONVERSATIONS, token)
            await _may_read(gateway, status, CONVERSATIONS, token)  # the token is known now
        await services.analytics.stop()
        await _may_read(gateway, 503, OVERVIEW, token)


async def test_refusals_of_a_limit_can_be_read(run_gateway: RunGateway, database: Database) -> None:
    token = await make_token(database, await make_tenant(database, limits={"conversations": 1}))  # type: ignore[dict-item] # a text is one
    async with run_gateway(cors_origins=[ORIGIN]) as gateway:
        await gateway.until_exact()
        await gateway.get(CONVERSATIONS, token)
        for _ in range(2):
            await _may_read(gateway, 429, CONVERSATIONS, token)
        for _ in range(FAILURES_PER_MINUTE):
            await gateway.get(CONVERSATIONS)
        await _may_read(gateway, 429, CONVERSATIONS)


@pytest.mark.parametrize(("lines", "status"), [("Expect: a-miracle\r\n", 417), ("Trailer: x\r\n", 400)])
async def test_what_ends_a_connection_can_be_read(run_gateway: RunGateway, lines: str, status: int) -> None:
    raw = f"GET {CONVERSATIONS} HTTP/1.1\r\nHost: x\r\nOrigin: {ORIGIN}\r\n{lines}\r\n"
    async with run_gateway(cors_origins=[ORIGIN]) as gateway:
        received = await exchange(gateway, raw.encode())
    assert answers_in(received) == [status]
    assert f"Access-Control-Allow-Origin: {ORIGIN}\r\n".encode() in received
