"""A header that comes in several lines is one list (RFC 9110 §5.3)."""

from __future__ import annotations

import pytest
from aiohttp import web
from gateway_factories import CONVERSATIONS, OVERVIEW, TIMELINE, Gateway, Services, says
from multidict import CIMultiDict
from raw_http import answers_in, exchange

pytestmark = pytest.mark.usefixtures("patient_with_redis")


async def test_no_cache_in_a_second_line_is_heard(gateway: Gateway, token: str) -> None:
    await gateway.get(OVERVIEW, token)
    lines = CIMultiDict([("Cache-Control", "max-age=0"), ("Cache-Control", "no-cache")])
    assert (await gateway.get(OVERVIEW, token, lines)).json() == {"count": 2}


async def test_no_store_in_a_second_line_is_heard(gateway: Gateway, token: str) -> None:
    await gateway.get(OVERVIEW, token, CIMultiDict([("Cache-Control", "no-transform"), ("Cache-Control", "no-store")]))
    assert (await gateway.get(OVERVIEW, token)).json() == {"count": 2}


@pytest.mark.parametrize("path", [TIMELINE, "/api/docs", "/console"])
async def test_a_coding_that_a_second_line_accepts_is_used(
    gateway: Gateway, services: Services, token: str, path: str
) -> None:
    services.analytics.answer = says(200, {"timeline": [{"call_count": 1, "bucket": "x"}] * 300})
    lines = CIMultiDict([("Accept-Encoding", "identity;q=0.1"), ("Accept-Encoding", "gzip")])
    for _ in range(3):  # asked for, out of the cache, and by the express
        assert (await gateway.get(path, token, lines)).headers["Content-Encoding"] == "gzip"
    lines = CIMultiDict([("Accept-Encoding", "gzip"), ("Accept-Encoding", "gzip;q=0")])
    assert "Content-Encoding" not in (await gateway.get(path, token, lines)).headers


async def test_what_a_second_connection_line_names_goes_no_further(
    gateway: Gateway, services: Services, token: str
) -> None:
    async def answer(_request: web.Request) -> web.Response:
        headers = [("Connection", "X-One"), ("Connection", "X-Two"), ("X-One", "1"), ("X-Two", "2"), ("X-Three", "3")]
        return web.json_response({}, headers=headers)

    services.recordings.answer = answer
    lines = [("Connection", "X-One"), ("Connection", "X-Two"), ("X-One", "1"), ("X-Two", "2"), ("X-Three", "3")]
    reply = await gateway.get(CONVERSATIONS, token, CIMultiDict(lines))
    (seen,) = services.recordings.seen
    for headers in (seen.headers, reply.headers):
        assert {name for name in ("X-One", "X-Two", "X-Three") if name in headers} == {"X-Three"}


async def test_close_in_a_second_connection_line_closes(gateway: Gateway) -> None:
    raw = b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: x\r\nConnection: close\r\n\r\n"
    received = await exchange(gateway, raw)
    assert answers_in(received) == [200]
    assert b"Connection: close\r\n" in received


async def test_a_transfer_coding_in_a_second_line_is_not_overlooked(gateway: Gateway, services: Services) -> None:
    raw = b"POST /api/webhooks/telnyx/voice HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: %s\r\n%s\r\n0\r\n\r\n"
    for first, more in ((b"gzip", b"Transfer-Encoding: chunked\r\n"), (b"chunked", b"Transfer-Encoding: gzip\r\n")):
        assert answers_in(await exchange(gateway, raw % (first, more)))[0] in (400, 501)
    assert services.webhooks.seen == []


async def test_a_name_that_is_given_twice_is_none(gateway: Gateway, services: Services, token: str) -> None:
    trace = f"00-{1:032x}-{1:016x}-01"
    lines = CIMultiDict(
        [("X-Request-ID", "one"), ("X-Request-ID", "two"), ("traceparent", trace), ("traceparent", trace)]
    )
    reply = await gateway.get(CONVERSATIONS, token, lines)
    assert len(reply.headers["X-Request-ID"]) == 32
    (seen,) = services.recordings.seen
    assert seen.headers.getall("X-Request-ID") == [reply.headers["X-Request-ID"]]
    assert trace not in seen.headers.getall("traceparent")
