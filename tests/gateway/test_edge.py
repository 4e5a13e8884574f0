"""Raw sockets: what is no clean request gets one answer of the contract and a closed connection, and never two."""

from __future__ import annotations

import asyncio
import json
import re

import pytest
from gateway_factories import CONVERSATIONS, OVERVIEW, Gateway, RunGateway, Services, make_token, says
from raw_http import answers_in, exchange

from voice_common.mongo import Database

HOOK = "/api/webhooks/telnyx/voice"
HOST = "Host: x\r\n"
AUTH = "Authorization: Bearer TOKEN\r\n"
SMUGGLED = f"GET {CONVERSATIONS}?smuggled HTTP/1.1\r\n{HOST}{AUTH}\r\n"


def request(target: str = CONVERSATIONS, more: str = "", method: str = "GET", body: str = "") -> str:
    return f"{method} {target} HTTP/1.1\r\n{HOST}{AUTH}{more}\r\n{body}"


MALFORMED: dict[str, str] = {
    "CL and TE": request(HOOK, "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n", "POST", "0\r\n\r\n" + SMUGGLED),
    "TE and CL": request(HOOK, "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", "POST", "0\r\n\r\n" + SMUGGLED),
    "CL and TE on a GET": request(
        more="Content-Length: 4\r\nTransfer-Encoding: chunked\r\n", body="0\r\n\r\n" + SMUGGLED
    ),
    "two Content-Lengths": request(HOOK, "Content-Length: 0\r\nContent-Length: 5\r\n", "POST", SMUGGLED),
    "two equal Content-Lengths": request(HOOK, "Content-Length: 5\r\nContent-Length: 5\r\n", "POST", "abcde"),
    "list of Content-Lengths": request(HOOK, "Content-Length: 5, 5\r\n", "POST", "abcde"),
    "signed Content-Length": request(HOOK, "Content-Length: +5\r\n", "POST", "abcde"),
    "hexadecimal Content-Length": request(HOOK, "Content-Length: 0x5\r\n", "POST", "abcde"),
    "endless Content-Length": request(HOOK, "Content-Length: 99999999999999999999999\r\n", "POST", "abcde"),
    "two Hosts": f"GET {CONVERSATIONS} HTTP/1.1\r\nHost: a\r\nHost: b\r\n{AUTH}\r\n",
    "no Host": f"GET {CONVERSATIONS} HTTP/1.1\r\n{AUTH}\r\n",
    "bare LF": f"GET {CONVERSATIONS} HTTP/1.1\nHost: x\n\n",
    "bare LF in a header": f"GET {CONVERSATIONS} HTTP/1.1\r\nHost: x\nX-A: b\r\n{AUTH}\r\n",
    "bare CR in a header": request(more="X-A: a\rb\r\n"),
    "NUL in a header": request(more="X-A: a\0b\r\n"),
    "obs-fold": request(more="X-A: a\r\n b\r\n"),
    "folded first header": f"GET {CONVERSATIONS} HTTP/1.1\r\n X-A: b\r\n{HOST}\r\n",
    "space before a colon": request(more="X-A : a\r\n"),
    "space in a header's name": request(more="X A: a\r\n"),
    "no header's name": request(more=": a\r\n"),
    "header without a colon": request(more="XA\r\n"),
    "TE that is not chunked": request(HOOK, "Transfer-Encoding: gzip\r\n", "POST", "0\r\n\r\n"),
    "TE with chunked not last": request(HOOK, "Transfer-Encoding: chunked, gzip\r\n", "POST", "0\r\n\r\n"),
    "two TEs": request(HOOK, "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", "POST", "0\r\n\r\n"),
    "TE disguised": request(HOOK, "Transfer-Encoding: xchunked\r\n", "POST", "0\r\n\r\n" + SMUGGLED),
    "TE with a vertical tab": request(HOOK, "Transfer-Encoding:\x0bchunked\r\n", "POST", "0\r\n\r\n" + SMUGGLED),
    "TE in HTTP/1.0": f"POST {HOOK} HTTP/1.0\r\n{HOST}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunk size with a sign": request(HOOK, "Transfer-Encoding: chunked\r\n", "POST", "+2\r\n{}\r\n0\r\n\r\n"),
    "chunk size with 0x": request(HOOK, "Transfer-Encoding: chunked\r\n", "POST", "0x2\r\n{}\r\n0\r\n\r\n"),
    "chunk size that is no number": request(HOOK, "Transfer-Encoding: chunked\r\n", "POST", "zz\r\n{}\r\n0\r\n\r\n"),
    "chunk size that is too large": request(HOOK, "Transfer-Encoding: chunked\r\n", "POST", "fffffffffffffffff\r\n{}"),
    "chunk size with spaces": request(HOOK, "Transfer-Encoding: chunked\r\n", "POST", "2 \r\n{}\r\n0\r\n\r\n"),
    "chunk longer than said": request(HOOK, "Transfer-Encoding: chunked\r\n", "POST", "1\r\n{}\r\n0\r\n\r\n"),
    "chunk with bare LF": request(HOOK, "Transfer-Encoding: chunked\r\n", "POST", "2\n{}\n0\n\n"),
    "bad trailer": request(HOOK, "Transfer-Encoding: chunked\r\n", "POST", "0\r\nX A: b\r\n\r\n"),
    "trailers on a GET": request(more="Transfer-Encoding: chunked\r\n", body="0\r\nX-A: b\r\n\r\n"),
    "announced trailers": request(
        HOOK, "Transfer-Encoding: chunked\r\nTrailer: X-A\r\n", "POST", "0\r\nX-A: b\r\n\r\n"
    ),
    "body on a GET": request(more="Content-Length: 2\r\n", body="{}"),
    "absolute form of another scheme": request(f"ftp://x{CONVERSATIONS}"),
    "absolute form with a user": request(f"http://me@x{CONVERSATIONS}"),
    "authority form": "CONNECT x:80 HTTP/1.1\r\nHost: x:80\r\n\r\n",
    "asterisk form": f"OPTIONS * HTTP/1.1\r\n{HOST}\r\n",
    "no leading slash": request("api/conversations"),
    "fragment": request(CONVERSATIONS + "#x"),
    "fragment behind a query": request(CONVERSATIONS + "?limit=1#x"),
    "bytes beyond ASCII": request(CONVERSATIONS + "/é"),
    "space in the target": request(CONVERSATIONS + "/a b"),
    "tab in the target": request(CONVERSATIONS + "/a\tb"),
    "encoded slash": request(CONVERSATIONS + "%2Fx"),
    "encoded slash in an id": request(CONVERSATIONS + "/a%2fmessages"),
    "encoded backslash": request(CONVERSATIONS + "/a%5Cb"),
    "backslash": request(CONVERSATIONS + "\\x"),
    "encoded NUL": request(CONVERSATIONS + "/a%00b"),
    "dots": request("/api/voice/analytics/../../conversations"),
    "encoded dots": request("/api/voice/recordings/%2e%2e"),
    "half encoded dots": request("/api/voice/recordings/.%2E/x"),
    "dot": request("/api/./conversations"),
    "HTTP/2.0": f"GET {CONVERSATIONS} HTTP/2.0\r\n{HOST}\r\n",
    "no version": f"GET {CONVERSATIONS}\r\n{HOST}\r\n",
    "preface of HTTP/2": "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "unknown method": f"GE\x01T {CONVERSATIONS} HTTP/1.1\r\n{HOST}\r\n",
    "TLS": "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "garbage": "\x00\x01\x02\x03\r\n\r\n",
    "Expect that can't be met": request(more="Expect: a-miracle\r\n"),
    "Expect that is no text": request(more="Expect: \xd7\r\n"),
}


def flaw_of(received: bytes) -> str | None:
    """Say what is wrong with the gateway's answer to a malformed request."""
    answers = answers_in(received)
    if not answers:
        return "an answer that is none" if received else "no answer"
    if answers not in ([400], [417]):
        return f"answered {answers}"
    head, _, body = received.partition(b"\r\n\r\n")
    if b"application/json" not in head or list(json.loads(body)) != ["error"]:
        return "no error of the contract"
    if b"X-Request-ID" not in head or b"private, no-store" not in head:
        return "headers are missing"
    closes = b"connection: close" in head.lower() or head.startswith(b"HTTP/1.0")
    return None if closes else "the connection stays"


async def test_a_malformed_request_gets_a_400_and_a_closed_connection(
    gateway: Gateway, services: Services, token: str
) -> None:
    raws = [raw.encode("utf-8" if case == "bytes beyond ASCII" else "latin-1") for case, raw in MALFORMED.items()]
    received = await asyncio.gather(*(exchange(gateway, raw, token) for raw in raws))
    flaws = {case: flaw_of(each) for case, each in zip(MALFORMED, received, strict=True)}
    assert {case: flaw for case, flaw in flaws.items() if flaw} == {}
    for service in services.all():
        assert service.seen == [], "nothing malformed reaches a service"


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (request(CONVERSATIONS + "/" + "a" * 9000), 414),
        (request(CONVERSATIONS + "?x=" + "a" * 20_000), 414),
        (request(more="X-A: " + "a" * 17_000 + "\r\n"), 431),
        (request(more="X" * 17_000 + ": a\r\n"), 431),
        (request(more="".join(f"X-{n}: a\r\n" for n in range(99))), 431),
    ],
    ids=["target", "query", "header", "header's name", "101 headers"],
)
async def test_what_is_too_large_has_an_answer_of_its_own(gateway: Gateway, raw: str, status: int) -> None:
    received = await exchange(gateway, raw.encode())
    assert answers_in(received) == [status]
    assert list(json.loads(received.partition(b"\r\n\r\n")[2])) == ["error"]


async def test_large_but_allowed_headers_pass(gateway: Gateway, token: str) -> None:
    raw = request(CONVERSATIONS + "?x=" + "a" * 7900, "X-A: " + "a" * 8000 + "\r\nConnection: close\r\n")
    assert answers_in(await exchange(gateway, raw.encode(), token)) == [200]


async def test_pipelined_requests_get_their_own_answers_in_order(gateway: Gateway, token: str) -> None:
    raw = request(OVERVIEW) + request("/nope") + request(CONVERSATIONS, "Connection: close\r\n")
    received = await exchange(gateway, raw.encode(), token)
    assert answers_in(received) == [200, 404, 200]


async def test_a_request_behind_a_refused_body_is_not_answered(
    gateway: Gateway, services: Services, token: str
) -> None:
    raw = request(more="Content-Length: 2\r\n", body="{}") + SMUGGLED
    assert answers_in(await exchange(gateway, raw.encode(), token)) == [400]
    assert services.recordings.seen == []


async def test_an_unknown_route_is_a_404_before_anything_else_and_405_has_allow(gateway: Gateway) -> None:
    for path in (
        "/",
        "/api",
        "/api/voice/analytics/",
        "/api/voice/analytics/other",
        "/API/conversations",
        "//x",
        "/api/conversations/",
    ):
        reply = await gateway.get(path)
        assert (reply.status, reply.json()) == (404, {"error": "Not found"}), path
    reply = await gateway.get(OVERVIEW, method="POST")
    assert reply.status == 405
    assert sorted(reply.headers["Allow"].split(",")) == ["GET", "HEAD"]
    assert list(reply.json()) == ["error"]


async def test_the_public_port_has_no_metrics_and_the_internal_one_no_api(gateway: Gateway, token: str) -> None:
    for method in ("GET", "POST", "HEAD"):
        assert (await gateway.get("/metrics", token, method=method)).status == 404
    assert (await gateway.get("/livez")).json() == {"status": "ok"}
    assert (await gateway.get("/readyz")).json() == {"status": "ok"}
    inside = {}
    for path in ("/livez", "/readyz", "/metrics", OVERVIEW, HOOK, "/nope"):
        headers = {"Authorization": f"Bearer {token}"}
        async with gateway.session.get(gateway.ops_url + path, headers=headers) as reply:
            inside[path] = (reply.status, await reply.text())
    assert {path: status for path, (status, _) in inside.items()} == {
        "/livez": 200, "/readyz": 200, "/metrics": 200, OVERVIEW: 404, HOOK: 404, "/nope": 404,
    }  # fmt: skip
    assert json.loads(inside["/readyz"][1])["checks"] == {"mongo": "ok"}
    assert "voice_gateway_limit_decisions_total" in inside["/metrics"][1]


async def test_a_request_id_is_the_clients_own_where_it_has_the_form(gateway: Gateway) -> None:
    for given, kept in (("abc-1._", True), ("a" * 128, True), ("a" * 129, False), ("a b", False), ("é", False)):
        reply = await gateway.get("/nope", headers={"X-Request-ID": given})
        assert (reply.headers["X-Request-ID"] == given) is kept
        assert re.fullmatch(r"[A-Za-z0-9._-]{1,128}", reply.headers["X-Request-ID"])


async def test_browsers_of_named_origins_may_read_and_no_other(run_gateway: RunGateway, token: str) -> None:
    async with run_gateway(cors_origins=["https://app.example.com"]) as gateway:
        good = await gateway.get(OVERVIEW, token, {"Origin": "https://app.example.com"})
        assert good.headers["Access-Control-Allow-Origin"] == "https://app.example.com"
        assert "Access-Control-Allow-Credentials" not in good.headers
        exposed = good.headers["Access-Control-Expose-Headers"].lower()
        assert {name.strip() for name in exposed.split(",")} == {
            "x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset", "ratelimit", "ratelimit-policy",
            "retry-after", "etag", "age", "x-cache", "x-request-id", "www-authenticate", "accept-ranges",
            "content-range", "content-disposition",
        }  # fmt: skip
        refused = await gateway.get(CONVERSATIONS, None, {"Origin": "https://app.example.com"})
        assert refused.headers["Access-Control-Allow-Origin"] == "https://app.example.com"
        assert "Origin" in refused.headers["Vary"]
        other = await gateway.get(OVERVIEW, token, {"Origin": "https://evil.example.com"})
        assert "Access-Control-Allow-Origin" not in other.headers
        assert "Origin" in other.headers["Vary"]
        preflight = {
            "Origin": "https://app.example.com", "Access-Control-Request-Method": "GET",
            "Access-Control-Request-Headers": "authorization, if-none-match",
        }  # fmt: skip
        allowed = await gateway.get(OVERVIEW, headers=preflight, method="OPTIONS")
        assert allowed.status == 200
        assert allowed.headers["Access-Control-Allow-Origin"] == "https://app.example.com"
        preflight["Origin"] = "https://evil.example.com"
        denied = await gateway.get(OVERVIEW, headers=preflight, method="OPTIONS")
        assert denied.status == 403
        assert list(denied.json()) == ["error"]


async def test_without_origins_there_is_no_cors(gateway: Gateway, token: str) -> None:
    reply = await gateway.get(OVERVIEW, token, {"Origin": "https://app.example.com"})
    assert not [name for name in reply.headers if name.startswith("Access-Control")]
    assert (await gateway.get(OVERVIEW, method="OPTIONS")).status == 405


async def test_a_query_of_operators_stays_a_query(
    gateway: Gateway, services: Services, database: Database, tenant: str
) -> None:
    token = await make_token(database, tenant)
    services.recordings.answer = says(400, {"error": "Unknown query parameter channel[$ne]"})
    reply = await gateway.get("/api/conversations?channel[$ne]=voice", token)
    assert (reply.status, reply.json()) == (400, {"error": "Unknown query parameter channel[$ne]"})
