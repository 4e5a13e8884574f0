"""No query, header, path or token is a 500: every refusal is ``{"error": …}``, every answer has its request id."""

from __future__ import annotations

import asyncio
import base64
import http.client
import io
import itertools
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import quote_from_bytes

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519
from exploring import SECONDS, Explorer, exploring, say
from fuzz_bodies import ODD_NUMBERS, ODD_TEXTS, ODD_TIMES
from gateway_factories import make_token
from hypothesis import strategies as st
from system_factories import System, running_system
from watchdog import Watchdog

from voice_common.identity import IDENTITY_HEADER, Identity, IdentitySigner, new_key_pair
from voice_common.store.tenants import AreaName, Tenant, TenantStore
from voice_gateway.tokens import new_secret
from voice_local.servers import Server

EXAMPLES = 200
ISSUER, AUDIENCE = "https://issuer.example", "voice"
ISSUER_KEY, OTHER_KEY = ed25519.Ed25519PrivateKey.generate(), ed25519.Ed25519PrivateKey.generate()
EXPECTED = {200, 304, 400, 401, 403, 404, 405, 413, 414, 417, 431}
SERVICES = {
    "recordings": "/api/conversations",
    "analytics": "/api/voice/analytics/overview",
    "webhooks": "/api/webhooks/telnyx/voice",
}
_addresses = itertools.count(1)


def _latin(characters: str) -> st.SearchStrategy[bytes]:
    return st.text(characters, max_size=30).map(lambda text: text.encode("latin-1"))


bytes_ = st.binary(max_size=40)
odd_bytes = st.one_of(
    bytes_, st.sampled_from([text.encode("utf-8", "surrogatepass") for text in ODD_TEXTS + ODD_TIMES]),
    st.sampled_from([str(number).encode() for number in ODD_NUMBERS]), st.sampled_from([b"x" * 5000, b"9" * 5000]),
)  # fmt: skip
escaped = odd_bytes.map(lambda raw: quote_from_bytes(raw).encode())
in_target = st.one_of(escaped, escaped, _latin("".join(map(chr, range(33, 127)))))

names = st.sampled_from(
    [b"start_date", b"end_date", b"bucket", b"fill", b"channel", b"status", b"limit", b"offset", b"cursor"]
)
good = {
    b"start_date": [b"2025-01-01", b"1970-01-01T00:00+23:59", b"9998-12-31"],
    b"end_date": [b"2025-01-31", b"9998-12-31T23:59:59-23:59", b"1970-01-01"],
    b"bucket": [b"day", b"hour"], b"fill": [b"zero"], b"channel": [b"voice", b"sms"],
    b"status": [b"active", b"completed", b"failed"], b"limit": [b"1", b"200"], b"offset": [b"0", b"10000"],
    b"cursor": [base64.urlsafe_b64encode(text).rstrip(b"=") for text in (b"1736935200000.s1", b"1.x", b"-1.x", b"1.")],
}  # fmt: skip
parameters = st.one_of(
    names.flatmap(lambda name: st.sampled_from(good[name]).map(lambda value: name + b"=" + value)),
    st.tuples(names, in_target).map(b"=".join),
    st.tuples(in_target, in_target).map(b"=".join),
    in_target,
)
paths = st.one_of(
    st.sampled_from(
        [b"/api/voice/analytics/overview", b"/api/voice/analytics/detailed", b"/api/voice/analytics/timeline",
         b"/api/conversations", b"/api/conversations"]
    ),
    st.tuples(
        st.sampled_from([b"/api/conversations/", b"/api/voice/recordings/", b"/", b"/api/", b"/console/assets/"]),
        st.one_of(st.just(b"s1"), in_target),
        st.sampled_from([b"", b"", b"/messages", b"/"]),
    ).map(b"".join),
    st.sampled_from([b"/livez", b"/readyz", b"/metrics", b"/console", b"/api/docs", b"/api/openapi.json", b"*", b"//"]),
)  # fmt: skip
targets = st.tuples(paths, st.lists(parameters, max_size=4)).map(
    lambda parts: parts[0] + (b"?" + b"&".join(parts[1]) if parts[1] else b"")
)
methods = st.sampled_from([b"GET"] * 12 + [b"HEAD", b"OPTIONS", b"DELETE", b"PUT", b"TRACE", b"PROPFIND", b"get"])
# Not the ones that frame a message or end a connection: tests/gateway/test_edge.py has those.
header_names = st.one_of(
    st.sampled_from(
        [b"Accept", b"Accept-Encoding", b"Cache-Control", b"If-None-Match", b"If-Modified-Since", b"Range", b"Cookie",
         b"Origin", b"X-Forwarded-For", b"X-Forwarded-Proto", b"Forwarded", b"X-Request-ID", b"traceparent",
         b"X-Voice-Identity", b"Content-Type", b"Content-Encoding", b"Expect", b"Referer", b"User-Agent", b"TE",
         b"Access-Control-Request-Method", b"If-Match", b"Authorization", b"Accept-Language", b"Via"]
    ),
    st.text("abcXYZ-_!#$%&'*+.^`|~09", min_size=1, max_size=12).map(str.encode),
)  # fmt: skip
header_values = st.one_of(
    st.sampled_from(
        [b"*", b'W/"a", "b"', b'"', b"gzip;q=nan, br;q=1e9", b"gzip;q=-1,*;q=0", b"no-cache, no-store",
         b"max-age=1e400", b"100-continue", b"bytes=0-18446744073709551616", b"::1, [::1]:80, 1.2.3.4:x",
         b"text/html; charset=\xff",
         b"00-" + b"0" * 32 + b"-" + b"0" * 16 + b"-00", b"gzip, deflate, br, zstd, identity;q=0", b"a=b; c", b", ,,"]
    ),
    odd_bytes,
).map(lambda raw: raw.translate(None, b"\r\n\x00"))  # fmt: skip
headers = st.lists(st.tuples(header_names, header_values), max_size=4)

claims = st.dictionaries(
    st.sampled_from(["iss", "aud", "exp", "nbf", "iat", "tenant_id", "scope", "sub", "jti", "x"]),
    st.one_of(
        st.none(), st.booleans(), st.sampled_from(ODD_NUMBERS), st.sampled_from(ODD_TEXTS[:5]),
        st.sampled_from([[], {}, "acme", ISSUER, AUDIENCE, [AUDIENCE], "analytics:read", "conversations:read x"]),
    ),
    max_size=3,
)  # fmt: skip
odd_jsons = st.one_of(
    st.sampled_from([b"", b"{}", b"[]", b"null", b"[" * 5000, b'{"a":' * 900, b"9" * 5000, b"\xff", b'{"alg":"none"}',
                     b'{"alg":["EdDSA"]}', b'{"alg":"EdDSA","kid":{}}', b'{"alg":"EdDSA","crit":["b64"],"b64":false}',
                     b'{"alg":"EdDSA","b64":false}', b'{"alg":"HS256"}', b'{"alg":"EdDSA","typ":1e400}']),
    st.binary(max_size=40),
)  # fmt: skip


@dataclass(frozen=True)
class Token:
    """What to authenticate with: a kind, and what the kind is made of."""

    kind: str
    claims: dict[str, Any]
    parts: tuple[bytes, bytes]
    raw: bytes

    def text(self, api_token: str) -> bytes | None:
        """Give the value of ``Authorization``."""
        if self.kind == "none":
            return None
        if self.kind == "raw":
            return self.raw
        return b"Bearer " + self._credentials(api_token)

    def _credentials(self, api_token: str) -> bytes:
        known = {"iss": ISSUER, "aud": AUDIENCE, "exp": int(time.time()) + 60, "tenant_id": "acme"}
        match self.kind:
            case "good":
                return api_token.encode()
            case "unknown":
                return new_secret().encode()
            case "near":
                return api_token.encode() + self.raw
            case "jwt" | "foreign jwt":
                payload = json.dumps(known | {"scope": "analytics:read"} | self.claims).encode()
                return _signed(b'{"alg":"EdDSA"}', payload, ISSUER_KEY if self.kind == "jwt" else OTHER_KEY)
            case _:
                return _signed(*self.parts, ISSUER_KEY)


def _signed(head: bytes, payload: bytes, key: ed25519.Ed25519PrivateKey) -> bytes:
    message = b".".join(base64.urlsafe_b64encode(part).rstrip(b"=") for part in (head, payload))
    return message + b"." + base64.urlsafe_b64encode(key.sign(message)).rstrip(b"=")


tokens = st.builds(
    Token,
    st.sampled_from(["good"] * 8 + ["none", "unknown", "near", "jwt", "jwt", "foreign jwt", "odd jwt", "raw"]),
    claims,
    st.tuples(st.one_of(odd_jsons, st.just(b'{"alg":"EdDSA"}')), odd_jsons),
    header_values,
)


@dataclass(frozen=True)
class Asked:
    """One request."""

    method: bytes
    target: bytes
    headers: list[tuple[bytes, bytes]]
    token: Token


requests = st.builds(Asked, methods, targets, headers, tokens)


class Fuzzed:
    """The system, a token of its tenant, and what watches the loop."""

    def __init__(self, system: System, token: str, watchdog: Watchdog) -> None:
        self.system = system
        self.token = token
        self.watchdog = watchdog
        self.statuses: Counter[int] = Counter()


async def send(port: int, method: bytes, target: bytes, fields: list[tuple[bytes, bytes]]) -> http.client.HTTPResponse:
    """Send a request as it stands and give the answer, read to its end."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    lines = [method + b" " + target + b" HTTP/1.1", b"Host: localhost", *(b": ".join(field) for field in fields)]
    writer.write(b"\r\n".join([*lines, b"Connection: close", b"", b""]))
    async with asyncio.timeout(10):
        received = await reader.read()
    writer.close()
    return answer_of(received, method)


def answer_of(received: bytes, method: bytes) -> http.client.HTTPResponse:
    class Socket:
        def makefile(self, _mode: str) -> io.BytesIO:
            return io.BytesIO(received.removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n"))

    answer = http.client.HTTPResponse(cast("Any", Socket()), method=method.decode("latin-1").upper())
    answer.begin()
    return answer


async def check_request(fuzzed: Fuzzed, asked: Asked) -> None:
    await fuzzed.watchdog.judge(lambda: check_answer(fuzzed, asked))


async def check_answer(fuzzed: Fuzzed, asked: Asked) -> None:
    # An address for each, so that none is slowed down for the failures of the others; behind whatever it says itself.
    own = [(b"X-Forwarded-For", f"10.{n >> 16 & 255}.{n >> 8 & 255}.{n & 255}".encode()) for n in [next(_addresses)]]
    authorization = asked.token.text(fuzzed.token)
    fields = asked.headers + own + ([] if authorization is None else [(b"Authorization", authorization)])
    answer = await send(fuzzed.system.gateway.port, asked.method, asked.target, fields)
    body = answer.read()
    fuzzed.statuses[answer.status] += 1
    assert answer.status in EXPECTED, (answer.status, body)
    assert answer.headers["X-Request-ID"]
    assert answer.headers["Server"] == "voice"
    if answer.status >= 400 and body and not asked.target.startswith(b"/api/voice/recordings/"):
        assert is_error(json.loads(body)), body
    if asked.method == b"HEAD" or answer.status == 304:
        assert body == b""


def is_error(document: Any) -> bool:
    return list(document) == ["error"] and isinstance(document["error"], str) and document["error"] != ""


@pytest.fixture
def explorer(mongo_server: Server, redis_server: Server) -> Iterator[Explorer[Fuzzed]]:
    pem = ISSUER_KEY.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    chosen: dict[str, Any] = {
        "jwt_public_key": pem.decode(),
        "jwt_issuer": ISSUER,
        "jwt_audience": [AUDIENCE],
        "trusted_proxies": ["127.0.0.1"],
    }

    @asynccontextmanager
    async def fuzzed() -> AsyncIterator[Fuzzed]:
        async with running_system(mongo_server.url, redis_server.url, **chosen) as system:
            await TenantStore(system.database).create(Tenant("acme", "Acme", dict.fromkeys(AreaName, 1_000_000)))
            with Watchdog() as watchdog:
                yield Fuzzed(system, await make_token(system.database, "acme"), watchdog)

    with exploring(fuzzed) as made:
        yield made


def test_whatever_is_asked_in_whatever_way_its_answer_is_the_contracts(explorer: Explorer[Fuzzed]) -> None:
    explorer.some(requests, check_request, EXAMPLES)
    assert explorer.subject.statuses.keys() >= {200, 400, 401, 404}


_CONTROLS = bytes([*range(32), 127])  # what the services' parser refuses before anybody reads it
identities = st.one_of(
    header_values.map(lambda raw: raw.translate(None, _CONTROLS)),
    st.builds(
        lambda wrong, service: IdentitySigner(wrong).sign(Identity("acme", frozenset(), "r"), service).encode(),
        st.just(new_key_pair()[0]),
        st.sampled_from(list(SERVICES)),
    ),
    st.tuples(odd_jsons, st.binary(max_size=80)).map(
        lambda parts: b".".join(base64.urlsafe_b64encode(part).rstrip(b"=") for part in parts)
    ),
)


async def check_identity(fuzzed: Fuzzed, identity: bytes) -> None:
    for service, path in SERVICES.items():
        port = fuzzed.system.port(service)
        method = b"POST" if service == "webhooks" else b"GET"
        answer = await send(port, method, path.encode(), [(IDENTITY_HEADER.encode(), identity)])
        assert answer.status == 401, identity
        assert is_error(json.loads(answer.read()))


def test_no_made_up_identity_gets_past_a_service(explorer: Explorer[Fuzzed]) -> None:
    explorer.some(identities, check_identity, 40)


@pytest.mark.soak
@pytest.mark.timeout(SECONDS + 600)
def test_requests_of_all_kinds_are_answered_for_a_long_time(explorer: Explorer[Fuzzed]) -> None:
    explorer.many(requests, check_request, SECONDS)
    fuzzed = explorer.subject
    say(f"{explorer.count} requests: {dict(fuzzed.statuses)}; longest callback {fuzzed.watchdog.longest:.3f} s of CPU")
