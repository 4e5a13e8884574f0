"""What a request's first line may say, and what ``Expect`` and ``HEAD`` get: over raw sockets."""

from __future__ import annotations

import json

import pytest
from aiohttp import web
from gateway_factories import CONVERSATIONS, OVERVIEW, Gateway, Services, says
from raw_http import answers_in, exchange

from voice_gateway.settings import MEBIBYTE

HOOK = "/api/webhooks/telnyx/voice"
HOST = "Host: x\r\n"
AUTH = "Authorization: Bearer TOKEN\r\n"


def error_in(received: bytes) -> str:
    return str(json.loads(received.partition(b"\r\n\r\n")[2])["error"])


@pytest.mark.parametrize("version", ["HTTP/2.0", "HTTP/0.9", "HTTP/1.2", "HTTP/3.0", "HTTP/1.01", "XHTTP/1.1"])
async def test_another_version_is_a_400_that_can_be_read(gateway: Gateway, version: str) -> None:
    received = await exchange(gateway, f"GET {CONVERSATIONS} {version}\r\n{HOST}\r\n".encode())
    assert received.startswith(b"HTTP/1.1 400 ")
    assert error_in(received) == "Malformed request"
    assert b"connection: close" in received.lower()


@pytest.mark.parametrize("method", ["FOO", "PROPFIND", "BREW", "G", "GETS", "VERSION-CONTROL"])
async def test_an_unknown_method_is_a_405_on_a_route_and_a_404_elsewhere(gateway: Gateway, method: str) -> None:
    more = f"{HOST}X-Request-ID: mine\r\nConnection: close\r\n\r\n"
    received = await exchange(gateway, f"{method} {OVERVIEW}?a=1 HTTP/1.1\r\n{more}".encode())
    assert answers_in(received) == [405]
    assert b"Allow: GET,HEAD\r\n" in received
    assert b"X-Request-ID: mine\r\n" in received
    assert error_in(received) == "Method not allowed"
    assert answers_in(await exchange(gateway, f"{method} /nope HTTP/1.1\r\n{more}".encode())) == [404]


async def test_behind_an_unknown_method_nothing_is_answered(gateway: Gateway, services: Services, token: str) -> None:
    following = f"GET {CONVERSATIONS} HTTP/1.1\r\n{HOST}{AUTH}\r\n"
    for head in (f"FOO {HOOK} HTTP/1.1\r\n{HOST}\r\n", f"FOO {HOOK} HTTP/1.1\r\n{HOST}Content-Length: 9\r\n\r\n"):
        assert answers_in(await exchange(gateway, (head + following).encode(), token)) == [405]
    assert services.recordings.seen == []


@pytest.mark.parametrize(
    "head",
    ["foo / HTTP/1.1\r\nHost: x", "FOO / HTTP/1.1\r\nHost : x", "FOO /a b HTTP/1.1\r\nHost: x", "F\x00O / HTTP/1.1"],
)
async def test_what_is_malformed_beside_its_unknown_method_is_a_400(gateway: Gateway, head: str) -> None:
    received = await exchange(gateway, f"{head}\r\n\r\n".encode())
    assert (answers_in(received), error_in(received)) == ([400], "Malformed request")


@pytest.mark.parametrize(
    ("target", "seen"),
    [
        (f"http://api.example{CONVERSATIONS}?limit=1", f"{CONVERSATIONS}?limit=1"),
        (f"HTTP://api.example{CONVERSATIONS}", CONVERSATIONS),
        (f"https://api.example{CONVERSATIONS}/a?", f"{CONVERSATIONS}/a?"),
    ],
)
async def test_an_absolute_form_is_taken_and_its_host_counts(
    gateway: Gateway, services: Services, token: str, target: str, seen: str
) -> None:
    raw = f"GET {target} HTTP/1.1\r\nHost: other\r\n{AUTH}Connection: close\r\n\r\n"
    assert answers_in(await exchange(gateway, raw.encode(), token)) == [200]
    (got,) = services.recordings.seen
    assert got.target == seen
    assert got.headers.getall("X-Forwarded-Host") == ["api.example"]


async def test_an_absolute_form_is_a_request_like_any_other(gateway: Gateway, services: Services, token: str) -> None:
    def raw(target: str, more: str = "") -> bytes:
        return f"GET {target} HTTP/1.1\r\n{HOST}{AUTH}{more}\r\n".encode()

    two = raw(f"http://[::1]:8080{OVERVIEW}") + raw(f"http://y:80{OVERVIEW}", "Connection: close\r\n")
    received = await exchange(gateway, two, token)
    assert answers_in(received) == [200, 200]
    assert b"X-Cache: HIT" in received
    assert len(services.analytics.seen) == 1
    assert answers_in(await exchange(gateway, raw("http://x/nope", "Connection: close\r\n"))) == [404]
    for empty in ("http://x", "http://x?"):
        assert answers_in(await exchange(gateway, raw(empty, "Connection: close\r\n"))) == [404]
    assert answers_in(await exchange(gateway, raw("http://x/metrics", "Connection: close\r\n"))) == [404]


@pytest.mark.parametrize(
    "target",
    [
        f"ftp://x{CONVERSATIONS}", f"http:{CONVERSATIONS}", f"http://{CONVERSATIONS}", f"http://me@x{CONVERSATIONS}",
        f"http://x:port{CONVERSATIONS}", f"http://x\\y{CONVERSATIONS}", f"http://x{CONVERSATIONS}#f", "http://x#f",
        "http://x/api/../api/conversations", f"http://x{CONVERSATIONS}%2f", f"x{CONVERSATIONS}",
    ],
)  # fmt: skip
async def test_an_absolute_form_that_can_be_read_in_two_ways_is_a_400(
    gateway: Gateway, services: Services, token: str, target: str
) -> None:
    raw = f"GET {target} HTTP/1.1\r\n{HOST}{AUTH}\r\n"
    received = await exchange(gateway, raw.encode(), token)
    assert (answers_in(received), list(json.loads(received.partition(b"\r\n\r\n")[2]))) == ([400], ["error"])
    assert services.recordings.seen == []


@pytest.mark.parametrize("lines", ["Expect: 100-continue\r\n", "Expect: 100-Continue\r\nExpect: 100-continue\r\n"])
async def test_a_body_that_is_too_large_is_not_bidden_welcome(gateway: Gateway, lines: str) -> None:
    raw = f"POST {HOOK} HTTP/1.1\r\n{HOST}{lines}Content-Length: {MEBIBYTE + 1}\r\n\r\n"
    received = await exchange(gateway, raw.encode())
    assert (answers_in(received), error_in(received)) == ([413], "Request body is too large")
    assert b"connection: close" in received.lower()


async def test_a_body_that_may_come_is_bidden_welcome(gateway: Gateway) -> None:
    raw = f"POST {HOOK} HTTP/1.1\r\n{HOST}Expect: 100-continue\r\nContent-Length: 2\r\nConnection: close\r\n\r\n"
    assert answers_in(await exchange(gateway, raw.encode() + b"{}")) == [100, 200]


async def test_an_expectation_in_a_second_line_is_not_overlooked(gateway: Gateway) -> None:
    raw = f"POST {HOOK} HTTP/1.1\r\n{HOST}Expect: 100-continue\r\nExpect: a-miracle\r\nContent-Length: 2\r\n\r\n"
    assert answers_in(await exchange(gateway, raw.encode())) == [417]


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (404, {"recording": {"id": None, "available": False}}),
        (400, {"error": "limit is wrong"}),
        (503, {"error": "No"}),
    ],
)
async def test_head_of_an_error_has_the_length_that_get_has(
    gateway: Gateway, services: Services, token: str, status: int, body: object
) -> None:
    services.recordings.answer = says(status, body)
    await _have_one_length(gateway, f"{CONVERSATIONS}/x", token, status)


async def _have_one_length(gateway: Gateway, path: str, token: str | None, status: int) -> None:
    got = await gateway.get(path, token)
    head = await gateway.get(path, token, method="HEAD")
    assert (got.status, head.status, head.body) == (status, status, b"")
    for name in ("Content-Length", "Content-Type"):
        assert head.headers.getall(name) == got.headers.getall(name), name


async def test_head_of_the_gateways_own_errors_has_the_length_that_get_has(
    gateway: Gateway, services: Services, token: str
) -> None:
    services.recordings.answer = _plain
    await _have_one_length(gateway, CONVERSATIONS, token, 500)
    await _have_one_length(gateway, CONVERSATIONS, None, 401)
    await _have_one_length(gateway, "/nope", token, 404)
    services.analytics.answer = says(400, {"error": "It is wrong"})
    await _have_one_length(gateway, f"{OVERVIEW}?what=1", token, 400)
    await _have_one_length(gateway, OVERVIEW, token, 400)


async def _plain(_request: web.Request) -> web.Response:
    return web.Response(status=500, text="no contract")
