from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from aiohttp import web
from gateway_factories import Clock, FakeService, Gateway, Services, says

from voice_common.web.openapi import Answer, Endpoint, describe

DOCUMENT = "/api/openapi.json"
OVERVIEW = "/api/voice/analytics/overview"


async def nothing(_request: web.Request) -> web.Response:
    return web.Response()


def told_of(path: str, summary: str = "Ask") -> dict[str, Any]:
    """Give what a service with one route tells."""
    answer = Answer(description="It is there.", body=int, examples={"one": 1})
    endpoint = Endpoint(
        method="POST" if "webhooks" in path else "GET",
        path=path,
        handler=nothing,
        id=path,
        tag="Test",
        summary=summary,
        description="To be asked.",
        answers={200: answer},
    )
    return describe("test", [endpoint])


@pytest.fixture
def described(services: Services) -> Services:
    services.analytics.answer = says(200, told_of(OVERVIEW))
    services.recordings.answer = says(200, told_of("/api/conversations"))
    services.webhooks.answer = says(200, told_of("/api/webhooks/telnyx/voice"))
    return services


def summary_of(document: dict[str, Any]) -> str:
    summary: str = document["paths"][OVERVIEW]["get"]["summary"]
    return summary


def asked(service: FakeService) -> int:
    return sum(1 for seen in service.seen if seen.target == "/openapi.json")


async def test_what_the_services_tell_becomes_one_document_with_what_the_gateway_adds(
    gateway: Gateway, described: Services
) -> None:
    reply = await gateway.get(DOCUMENT)
    assert reply.status == 200
    document = reply.json()
    overview = document["paths"][OVERVIEW]["get"]
    assert overview["security"] == [{"bearer": ["analytics:read"]}]
    assert {"200", "304", "401", "403", "429", "502", "503", "504"} <= overview["responses"].keys()
    assert "post" in document["paths"]["/api/webhooks/telnyx/voice"]
    assert {DOCUMENT, "/api/docs", "/livez", "/readyz"} <= document["paths"].keys()
    assert described.analytics.seen[0].identity is None


async def test_a_path_that_is_not_forwarded_is_not_in_the_document(gateway: Gateway, described: Services) -> None:
    described.analytics.answer = says(200, told_of("/api/secret"))
    assert "/api/secret" not in (await gateway.get(DOCUMENT)).json()["paths"]


async def test_services_are_asked_at_most_once_a_minute_and_together_for_all_who_wait(
    gateway: Gateway, described: Services, clock: Clock
) -> None:
    replies = await asyncio.gather(*(gateway.get(DOCUMENT) for _ in range(8)))
    assert {reply.status for reply in replies} == {200}
    assert [asked(service) for service in described.all()] == [1, 1, 1]
    described.analytics.answer = says(200, told_of(OVERVIEW, "Ask again"))
    assert summary_of((await gateway.get(DOCUMENT)).json()) == "Ask"
    clock.ahead += 61
    assert summary_of((await gateway.get(DOCUMENT)).json()) == "Ask again"
    assert [asked(service) for service in described.all()] == [2, 2, 2]


@pytest.mark.parametrize("fault", ["down", "failing", "not JSON"])
async def test_a_service_that_is_not_well_is_described_as_it_was(
    gateway: Gateway, described: Services, clock: Clock, fault: str
) -> None:
    before = await gateway.get(DOCUMENT)
    clock.ahead += 61
    await break_down(described.analytics, fault)
    after = await gateway.get(DOCUMENT)
    assert (after.status, after.body, after.headers["ETag"]) == (200, before.body, before.headers["ETag"])


@pytest.mark.parametrize("fault", ["down", "failing", "not JSON", "something else"])
async def test_until_a_service_was_heard_of_there_is_no_document(
    gateway: Gateway, described: Services, clock: Clock, fault: str
) -> None:
    await break_down(described.recordings, fault)
    for _ in range(2):
        reply = await gateway.get(DOCUMENT)
        assert (reply.status, reply.json()) == (503, {"error": "Service unavailable"})
        assert reply.headers["Retry-After"] == "1"
        clock.ahead += 1.1
    described.recordings.answer = says(200, told_of("/api/conversations"))
    if fault == "down":
        await described.recordings.start()
    assert (await gateway.get(DOCUMENT)).status == 200


async def test_those_who_wait_for_a_silent_service_wait_together(gateway: Gateway, described: Services) -> None:
    async def silent(_request: web.Request) -> web.Response:
        await asyncio.sleep(60)
        return web.Response()

    described.recordings.answer = silent
    started = time.monotonic()
    replies = await asyncio.gather(*(gateway.get(DOCUMENT) for _ in range(8)))
    assert {reply.status for reply in replies} == {503}
    assert time.monotonic() - started < 2 * 2.0
    assert asked(described.recordings) == 1


async def break_down(service: FakeService, fault: str) -> None:
    if fault == "down":
        await service.stop()
    else:
        failing, other = says(500, {"error": "Internal server error"}), says(200, {"count": 1})
        service.answer = {"failing": failing, "something else": other, "not JSON": not_json}[fault]


async def not_json(_request: web.Request) -> web.Response:
    return web.Response(text="<html>")


async def test_a_client_that_has_the_document_is_told_so(gateway: Gateway, described: Services) -> None:
    assert described.analytics.answer is not None
    first = await gateway.get(DOCUMENT, headers={"Accept-Encoding": "gzip"})
    assert first.headers["Content-Encoding"] == "gzip"
    again = await gateway.get(DOCUMENT, headers={"Accept-Encoding": "gzip", "If-None-Match": first.headers["ETag"]})
    assert (again.status, again.body) == (304, b"")
    assert again.headers["Cache-Control"] == first.headers["Cache-Control"] == "private, no-store"


@pytest.mark.parametrize("path", [DOCUMENT, "/api/docs", "/api/docs/page.js"])
async def test_nothing_of_a_query_is_ignored(gateway: Gateway, described: Services, path: str) -> None:
    assert described.analytics.answer is not None
    reply = await gateway.get(f"{path}?format=yaml")
    assert (reply.status, reply.json()) == (400, {"error": "Unknown query parameter format"})


@pytest.mark.parametrize("path", ["/api/docs/nothing.js", "/api/docs/", "/openapi.json"])
async def test_what_the_page_does_not_have_is_not_found(gateway: Gateway, path: str) -> None:
    reply = await gateway.get(path)
    assert (reply.status, reply.json()) == (404, {"error": "Not found"})
