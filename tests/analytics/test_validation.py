"""What the routes refuse, and how."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest
from aiohttp.test_utils import TestClient
from analytics_factories import DAY_0, Ask, Call, World, identity_headers

from voice_common.identity import IDENTITY_HEADER
from voice_common.mongo import Database

ROUTES = ["overview", "detailed", "timeline"]


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("start_date=yesterday", "start_date"),
        ("start_date=", "start_date"),
        ("end_date=2025-02-30", "end_date"),
        ("end_date=2025-1-5", "end_date"),
        ("start_date=1969-12-31", "start_date"),
        ("end_date=9999-01-01", "end_date"),
        ("start_date=1736899200000", "start_date"),
        ("start_date=2025-01-02&end_date=2025-01-01", "start_date"),
        ("start_date=2025-01-01T10:00:00Z&end_date=2025-01-01T09:59:59Z", "start_date"),
        ("start_date=2025-01-01&start_date=2025-01-01", "start_date"),
        ("limit=5", "limit"),
        ("tenant=zeta", "tenant"),
        ("Start_Date=2025-01-01", "Start_Date"),
        ("start_date[$gt]=2025-01-01", "start_date[$gt]"),
        ("start_date%5B%24ne%5D=", "start_date[$ne]"),
        ("start_date=" + quote('{"$gt": ""}'), "start_date"),
        ("end_date=" + quote("2025-01-01' OR '1'='1"), "end_date"),
        ("end_date=" + quote("2025-01-01; DROP TABLE calls"), "end_date"),
        ("$where=sleep(1000)", "$where"),
    ],
)
async def test_a_wrong_parameter_is_named_in_one_sentence(ask: Ask, query: str, named: str) -> None:
    for route in ROUTES:
        status, body = await ask(f"{route}?{query}")
        assert status == 400
        assert list(body) == ["error"]
        assert named in body["error"]


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("bucket=week", "bucket"),
        ("bucket=", "bucket"),
        ("bucket=Day", "bucket"),
        ("bucket=hour&bucket=day", "bucket"),
        ("fill=one&start_date=2025-01-01&end_date=2025-01-02", "fill"),
        ("fill=&start_date=2025-01-01&end_date=2025-01-02", "fill"),
        ("fill=zero", "fill"),
        ("fill=zero&start_date=2025-01-01", "fill"),
        ("fill=zero&end_date=2025-01-01", "fill"),
        ("fill=zero&start_date=1990-01-01&end_date=2025-01-01", "10000"),
        ("fill=zero&bucket=hour&start_date=2024-01-01&end_date=2025-02-20T16:00:00.001Z", "10000"),
    ],
)
async def test_a_timeline_refuses_wrong_buckets_and_fills(ask: Ask, query: str, named: str) -> None:
    status, body = await ask(f"timeline?{query}")
    assert status == 400
    assert named in body["error"]


async def test_ten_thousand_buckets_are_not_too_many(ask: Ask) -> None:
    status, body = await ask("timeline?fill=zero&bucket=hour&start_date=2024-01-01&end_date=2025-02-20T16:00:00Z")
    assert (status, len(body["timeline"])) == (200, 10_000)


@pytest.mark.parametrize("query", ["bucket=day", "fill=zero"])
@pytest.mark.parametrize("route", ["overview", "detailed"])
async def test_only_a_timeline_has_buckets(ask: Ask, route: str, query: str) -> None:
    status, body = await ask(f"{route}?{query}")
    assert status == 400
    assert query.partition("=")[0] in body["error"]


async def test_without_an_identity_there_is_no_answer(service: TestClient[Any, Any]) -> None:
    for route in ROUTES:
        for headers in ({}, *({IDENTITY_HEADER: value} for value in ("", "nonsense", "a.b", "a.b.c"))):
            async with service.get(f"/api/voice/analytics/{route}?limit=5", headers=headers) as answer:
                assert answer.status == 401
                assert await answer.json() == {"error": "Missing tenant context for analytics request"}
                assert answer.headers["WWW-Authenticate"] == "Bearer"


async def test_an_identity_without_a_tenant_or_the_scope_has_no_access(service: TestClient[Any, Any]) -> None:
    path = "/api/voice/analytics/overview"
    async with service.get(path, headers=identity_headers(None)) as answer:
        assert answer.status == 401
    async with service.get(path, headers=identity_headers(scopes=["recordings:read"])) as answer:
        assert answer.status == 403
        assert await answer.json() == {"error": "Token lacks scope analytics:read"}


async def test_answers_are_plain_json_with_a_date_and_no_rules_for_caches(service: TestClient[Any, Any]) -> None:
    async with service.get("/api/voice/analytics/overview", headers=identity_headers()) as answer:
        assert answer.content_type == "application/json"
        assert "Date" in answer.headers
        assert not {"Cache-Control", "ETag", "Vary", "Expires"} & set(answer.headers)


async def test_a_tenant_id_that_looks_like_an_operator_is_only_a_name(database: Database, ask: Ask) -> None:
    await World(database).change(Call(DAY_0))
    for tenant in ('{"$ne": null}', "$ne", "acme\x00", ".*"):
        _, body = await ask("overview", tenant=tenant)
        assert body["metrics"]["total_calls"] == 0
