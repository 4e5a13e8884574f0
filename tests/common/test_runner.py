"""A service's own port: what is no request is answered in the contract's words there, too."""

from __future__ import annotations

import json
import typing
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
from aiohttp import web
from raw_http import answers_in, exchange

import voice_analytics.app
import voice_recordings.app
import voice_webhooks.app
from voice_common.web.app import make_app
from voice_common.web.render import json_response
from voice_common.web.runner import ServiceRunner


@dataclass
class Served:
    port: int


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    app = make_app("sample")
    app.add_routes([web.get("/hello", _hello)])
    runner = ServiceRunner(app, drain_seconds=1, front=_front)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield Served(runner.addresses[0][1])
    await runner.cleanup()


async def _hello(_request: web.Request) -> web.Response:
    return json_response({"greeting": "hello"})


async def _front(request: web.BaseRequest) -> web.StreamResponse | None:
    if request.path == "/broken":
        message = "beyond the application"
        raise RuntimeError(message)
    return None


REFUSED = {
    "GET /hello\x01 HTTP/1.1\r\nHost: x\r\n\r\n": (400, "Malformed request"),
    "GET /hello HTTP/1.1\r\nHost: x\r\nX-A: a\0b\r\n\r\n": (400, "Malformed request"),
    "\x00\x01\r\n\r\n": (400, "Malformed request"),
    "GET /hello HTTP/1.1\r\nHost: x\r\nContent-Length: +5\r\n\r\n": (400, "Malformed request"),
    f"GET /{'a' * 9000} HTTP/1.1\r\nHost: x\r\n\r\n": (414, "The request target is too long"),
    f"GET /hello HTTP/1.1\r\nHost: x\r\nX-A: {'a' * 17_000}\r\n\r\n": (431, "A request header is too large"),
    "GET /broken HTTP/1.1\r\nHost: x\r\n\r\n": (500, "Internal server error"),
}


@pytest.mark.parametrize("raw", REFUSED, ids=lambda raw: raw[:30].encode("unicode_escape").decode())
async def test_what_is_no_request_is_an_error_of_the_contract(served: Served, raw: str) -> None:
    status, sentence = REFUSED[raw]
    received = await exchange(served, raw.encode("latin-1"))
    head, _, body = received.partition(b"\r\n\r\n")
    assert head.startswith(f"HTTP/1.1 {status} ".encode())
    assert (answers_in(received), json.loads(body)) == ([status], {"error": sentence})
    assert b"Content-Type: application/json; charset=utf-8\r\n" in head
    assert b"X-Request-ID: " in head
    assert b"connection: close" in head.lower()


async def test_a_coded_body_is_no_error_by_itself(served: Served) -> None:
    raw = (
        b"GET /hello HTTP/1.1\r\nHost: x\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\nConnection: close\r\n\r\nxx"
    )
    assert answers_in(await exchange(served, raw)) == [200]


def test_every_service_runs_so() -> None:
    for module in (voice_analytics.app, voice_recordings.app, voice_webhooks.app):
        assert typing.get_type_hints(module.application)["return"] is ServiceRunner
