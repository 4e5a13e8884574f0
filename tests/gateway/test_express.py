"""The express and the application give the same answers; what is counted and measured is the same, too."""

from __future__ import annotations

import re

import pytest
from gateway_factories import (
    CONVERSATIONS,
    OVERVIEW,
    Gateway,
    Reply,
    RunGateway,
    Services,
    make_tenant,
    make_token,
    says,
)

from voice_common.mongo import Database
from voice_common.store.tenants import AreaName

CALL = f"{CONVERSATIONS}/c0ffee00-0000-4000-8000-000000000000"
LARGE = {"text": "x" * 200_000}
AROUND = {"Origin": "https://elsewhere.example"}
"""What makes a request one for the application, where no origin is allowed."""


def fixed(reply: Reply) -> tuple[int, set[tuple[str, str]], bytes]:
    """Give what must be the same in two answers to one question."""
    varying = {"x-request-id", "date", "x-ratelimit-remaining", "x-ratelimit-reset", "ratelimit", "age"}
    headers = {(name.lower(), "" if name.lower() in varying else value) for name, value in reply.headers.items()}
    return reply.status, headers, reply.body


def remaining(reply: Reply) -> int:
    return int(reply.headers["X-RateLimit-Remaining"])


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        (OVERVIEW, {}),
        (f"{OVERVIEW}?start_date=2025-01-01&end_date=2025-01-31", {}),
        (OVERVIEW, {"If-None-Match": "*"}),
        (OVERVIEW, {"Accept-Encoding": "br"}),
        (CONVERSATIONS, {}),
        (f"{CONVERSATIONS}?limit=2&status=failed", {}),
        (CALL, {}),
        (f"{CALL}/messages", {}),
        ("/api/voice/recordings/c0ffee00", {}),
    ],
)
async def test_the_express_answers_as_the_application_does(
    gateway: Gateway, services: Services, token: str, path: str, headers: dict[str, str]
) -> None:
    services.recordings.answer = says(200, {"id": "c0ffee00"}, {"X-Of-The-Service": "kept"})
    await gateway.get(path, token, headers)
    await gateway.get(path, token, headers | AROUND)
    for _ in range(3):  # a Redis that is slow on a busy machine would count one of the two apart
        express = await gateway.get(path, token, headers)
        around = await gateway.get(path, token, headers | AROUND)
        if remaining(express) == remaining(around) + 1:
            break
    assert fixed(express) == fixed(around)
    assert remaining(express) == remaining(around) + 1


@pytest.mark.parametrize("way", [{}, AROUND])
async def test_what_is_the_gateways_to_say_is_not_taken_from_a_service(
    gateway: Gateway, services: Services, token: str, way: dict[str, str]
) -> None:
    foreign = {"Cache-Control": "public, max-age=9", "CDN-Cache-Control": "max-age=9", "X-RateLimit-Limit": "7"}
    services.recordings.answer = says(200, {"id": "c0ffee00"}, foreign | {"RateLimit": "none"})
    await gateway.get(CALL, token)
    headers = (await gateway.get(CALL, token, way)).headers
    assert headers.getall("Cache-Control") == ["private, no-store"]
    assert headers.getall("X-RateLimit-Limit") == ["120"]
    assert len(headers.getall("RateLimit")) == 1
    assert headers["RateLimit"].startswith('"conversations"')
    assert "CDN-Cache-Control" not in headers


@pytest.mark.parametrize("status", [400, 404, 500, 503])
async def test_a_services_error_is_the_same_by_both_ways(
    gateway: Gateway, services: Services, token: str, status: int
) -> None:
    services.recordings.answer = says(status, {"error": "What the service says"})
    express, around = await gateway.get(CALL, token), await gateway.get(CALL, token, AROUND)
    assert express.status == status
    assert fixed(express) == fixed(around)
    assert ("Retry-After" in express.headers) == (status == 503)


async def test_a_refusal_is_the_same_by_both_ways(gateway: Gateway, database: Database) -> None:
    tenant = await make_tenant(database, limits={AreaName.ANALYTICS: 1, AreaName.CONVERSATIONS: 1})
    token = await make_token(database, tenant)
    for path in (OVERVIEW, CONVERSATIONS):
        assert (await gateway.get(path, token)).status == 200
        express, around = await gateway.get(path, token), await gateway.get(path, token, AROUND)
        assert (express.status, express.json()) == (429, {"error": "Rate limit exceeded"})
        assert fixed(express) == fixed(around)


async def test_an_answer_that_is_too_large_to_be_held_is_streamed_with_all_its_headers(
    gateway: Gateway, services: Services, token: str
) -> None:
    services.recordings.answer = says(200, LARGE)
    await gateway.get(CALL, token)
    express, around = await gateway.get(CALL, token), await gateway.get(CALL, token, AROUND)
    assert express.json() == LARGE
    assert fixed(express) == fixed(around)


async def test_with_origins_allowed_every_private_answer_varies_by_origin(run_gateway: RunGateway, token: str) -> None:
    async with run_gateway(cors_origins=["https://app.example"]) as gateway:
        await gateway.get(CONVERSATIONS, token)
        assert (await gateway.get(CONVERSATIONS, token)).headers["Vary"] == "Origin"
        allowed = await gateway.get(CONVERSATIONS, token, {"Origin": "https://app.example"})
        assert allowed.headers["Access-Control-Allow-Origin"] == "https://app.example"


async def test_a_path_that_only_resembles_a_route_is_unknown(gateway: Gateway, token: str) -> None:
    await gateway.get(CONVERSATIONS, token)
    for path in ("/api/conversations/", "/api/conversationsX", f"{OVERVIEW}/x", "/api/conversations/a/b"):
        assert (await gateway.get(path, token)).status == 404


async def test_the_operators_port_serves_no_reports(gateway: Gateway, token: str) -> None:
    await gateway.get(OVERVIEW, token)
    async with gateway.session.get(
        f"{gateway.ops_url}{OVERVIEW}", headers={"Authorization": f"Bearer {token}"}
    ) as answer:
        assert answer.status == 404


async def test_a_connection_is_kept_or_closed_as_the_client_asks(gateway: Gateway, token: str) -> None:
    await gateway.get(OVERVIEW, token)
    kept = await gateway.get(OVERVIEW, token)
    closed = await gateway.get(OVERVIEW, token, {"Connection": "close"})
    assert "Connection" not in kept.headers
    assert closed.headers["Connection"] == "close"
    assert kept.body == closed.body


async def test_each_request_is_measured_once_by_whichever_way_it_went(gateway: Gateway, token: str) -> None:
    async def counted() -> dict[str, float]:
        async with gateway.session.get(f"{gateway.ops_url}/metrics") as answer:
            text = await answer.text()
        lines = re.findall(r'^(voice_http_request\w+{.*route="/api/.*}) (\S+)$', text, re.MULTILINE)
        return {name: float(value) for name, value in lines}

    before = await counted()
    for headers in ({}, {}, AROUND):
        await gateway.get(OVERVIEW, token, headers)
        await gateway.get(CALL, token, headers)
    after = await counted()

    def more(metric: str, route: str) -> float:
        return sum(
            value - before.get(name, 0)
            for name, value in after.items()
            if name.startswith(f"{metric}{{") and f'route="{route}"' in name
        )

    for route in (OVERVIEW, "/api/conversations/{id}"):
        assert more("voice_http_requests_total", route) == 3
        assert more("voice_http_request_duration_seconds_count", route) == 3
