from __future__ import annotations

import asyncio
import socket
import time
from contextlib import suppress

import pytest
from aiohttp import ClientConnectionResetError, web
from aiohttp.test_utils import make_mocked_request
from gateway_factories import CONVERSATIONS, Gated, Gateway, Handler, RunGateway, Services, make_token, says, until
from multidict import CIMultiDict
from yarl import URL

from voice_common.errors import WELL_HEADER, VoiceError
from voice_common.mongo import Database
from voice_gateway import proxy, upstream
from voice_gateway.areas import ServiceName
from voice_gateway.edge import EDGE
from voice_gateway.exchange import Answer
from voice_gateway.protocol import EdgeProtocol
from voice_gateway.upstream import Patience, Service, make_session


async def test_a_long_answer_is_streamed_as_it_comes(gateway: Gateway, services: Services, token: str) -> None:
    let_go = asyncio.Event()

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"X-Own": "1"})
        await response.prepare(request)
        await response.write(b"first")
        await let_go.wait()
        await response.write(b"x" * 300_000)
        return response

    services.recordings.answer = answer
    headers = {"Authorization": f"Bearer {token}"}
    async with gateway.session.get(gateway.url + CONVERSATIONS, headers=headers) as reply:
        assert await reply.content.readany() == b"first"
        let_go.set()
        assert len(await reply.read()) == 300_000
        assert reply.headers["X-Own"] == "1"
        assert "X-RateLimit-Limit" in reply.headers


async def test_the_service_is_let_go_when_the_client_leaves(gateway: Gateway, services: Services, token: str) -> None:
    async def answer(_request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(30)
        return web.Response()

    services.recordings.answer = answer
    task = asyncio.create_task(gateway.get(CONVERSATIONS, token))
    await until(lambda: len(services.recordings.seen) == 1)
    task.cancel()
    await until(lambda: services.recordings.cancelled == 1)


async def test_the_path_is_sent_on_as_it_came(gateway: Gateway, services: Services, token: str) -> None:
    for target in ("/api/conversations/a%3Ab/messages?x=%2F..%2F&y=a%20b", "/api/conversations/%41%3a?z=a+b&&q"):
        assert (await gateway.session.get(_raw(gateway, target), headers=_bearer(token))).status == 200
        assert services.recordings.seen[-1].target == target


def _bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def _raw(gateway: Gateway, target: str) -> URL:
    return URL(gateway.url + target, encoded=True)


async def test_headers_of_one_hop_do_not_pass(gateway: Gateway, services: Services, token: str) -> None:
    services.recordings.answer = says(200, {}, {
        "Connection": "x-hop", "X-Hop": "1", "X-End": "2", "Keep-Alive": "timeout=5", "Set-Cookie": "a=b",
        "Proxy-Authenticate": "Basic", "Server": "secret/1.0",
    })  # fmt: skip
    sent = {
        "Connection": "x-mine, keep-alive", "X-Mine": "1", "X-End": "2", "TE": "trailers", "Proxy-Authorization": "x",
        "Keep-Alive": "1", "X_Voice_Identity": "forged", "Forwarded": "for=1.1.1.1", "X-Real-IP": "1.1.1.1",
        "X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "https",
    }  # fmt: skip
    reply = await gateway.get(CONVERSATIONS, token, sent)
    seen = services.recordings.seen[0].headers
    assert seen["X-End"] == "2"
    for name in ("X-Mine", "TE", "Proxy-Authorization", "Keep-Alive", "X_Voice_Identity", "Forwarded", "X-Real-IP"):
        assert name not in seen, name
    assert seen["X-Forwarded-Host"] == f"127.0.0.1:{gateway.port}"
    assert seen["X-Forwarded-Proto"] == "http"
    assert reply.headers["X-End"] == "2"
    assert reply.headers["Server"] == "voice"
    for name in ("X-Hop", "Keep-Alive", "Set-Cookie", "Proxy-Authenticate"):
        assert name not in reply.headers, name


async def test_forwarded_headers_of_a_trusted_proxy_are_continued(
    run_gateway: RunGateway, services: Services, token: str
) -> None:
    async with run_gateway(trusted_proxies=["127.0.0.0/8"]) as gateway:
        sent = {"X-Forwarded-For": "192.0.2.1", "X-Forwarded-Proto": "https", "X-Forwarded-Host": "api.example.com"}
        await gateway.get(CONVERSATIONS, token, sent)
    seen = services.recordings.seen[0].headers
    assert seen["X-Forwarded-For"] == "192.0.2.1, 127.0.0.1"
    assert (seen["X-Forwarded-Proto"], seen["X-Forwarded-Host"]) == ("https", "api.example.com")


async def test_trace_context_passes_or_is_made(gateway: Gateway, services: Services, token: str) -> None:
    good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    await gateway.get(CONVERSATIONS, token, {"traceparent": good, "tracestate": "a=1"})
    await gateway.get(CONVERSATIONS, token, {"traceparent": "00-0-0-00", "tracestate": "a=1"})
    passed, made = (seen.headers for seen in services.recordings.seen)
    assert (passed["traceparent"], passed["tracestate"]) == (good, "a=1")
    assert made["traceparent"].startswith("00-")
    assert made["traceparent"] != "00-0-0-00"
    assert "tracestate" not in made


async def test_a_services_json_error_passes_and_any_other_is_put_into_words(
    gateway: Gateway, services: Services, token: str
) -> None:
    recording = {"recording": {"id": None, "available": False}}
    services.recordings.answer = says(404, recording)
    assert (await gateway.get("/api/voice/recordings/x", token)).json() == recording
    for status, sentence in ((500, "Internal server error"), (502, "Service failed"), (404, "Not found")):
        services.recordings.answer = _html(status)
        reply = await gateway.get(CONVERSATIONS, token)
        assert (reply.status, reply.json()) == (status, {"error": sentence})


async def test_a_header_that_is_not_utf_8_is_no_error_whoever_answers(
    gateway: Gateway, services: Services, token: str
) -> None:
    async def odd(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.write(b"HTTP/1.1 200 OK\r\nX-Name: caf\xe9 \xc3\xa9\r\nContent-Length: 2\r\n\r\n{}")
        request.transport.close()
        await asyncio.sleep(0)
        return web.Response()

    services.recordings.answer = odd
    for headers in ({}, {"Origin": "https://elsewhere.example"}):  # by the express, and by the application
        reply = await gateway.get(CONVERSATIONS, token, headers)
        assert (reply.status, reply.body) == (200, b"{}")
        assert reply.headers["X-Name"].startswith("caf")
        assert reply.headers["X-Name"].endswith(" é")


@pytest.mark.parametrize("status", [200, 404])
@pytest.mark.parametrize("length", [2, 100_000])
async def test_a_header_with_a_control_character_is_a_502_whoever_answers(
    gateway: Gateway, services: Services, token: str, status: int, length: int
) -> None:
    async def odd(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        head = f"HTTP/1.1 {status} Odd\r\nContent-Type: application/json\r\nX-Name: a\x01b\r\nContent-Length: {length}"
        request.transport.write(head.encode() + b"\r\n\r\n" + b"{}".ljust(length))
        request.transport.close()
        await asyncio.sleep(0)
        return web.Response()

    services.recordings.answer = odd
    for headers in ({}, {"Origin": "https://elsewhere.example"}):  # by the express, and by the application
        reply = await gateway.get(CONVERSATIONS, token, headers)
        assert (reply.status, reply.json()) == (502, {"error": "Service failed"})


def _html(status: int) -> Handler:
    async def answer(_request: web.Request) -> web.Response:
        return web.Response(status=status, text="<h1>stack trace</h1>", content_type="text/html")

    return answer


async def test_a_service_that_does_not_know_the_gateway_is_no_fault_of_the_token(
    gateway: Gateway, services: Services, token: str
) -> None:
    services.recordings.answer = says(401, {"error": "Missing tenant context for conversations request"})
    reply = await gateway.get(CONVERSATIONS, token)
    assert (reply.status, reply.json()) == (502, {"error": "Service failed"})


async def test_a_service_that_is_down_or_breaks_off_is_a_503_and_one_that_speaks_no_http_a_502(
    gateway: Gateway, services: Services, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upstream, "_RESTART_SECONDS", 0.0)

    async def broken(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc")
        request.transport.close()
        await asyncio.sleep(1)
        return web.Response()

    async def garbled(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.write(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")
        request.transport.close()
        await asyncio.sleep(1)
        return web.Response()

    services.recordings.answer = garbled
    reply = await gateway.get(CONVERSATIONS, token)
    assert (reply.status, reply.json()) == (502, {"error": "Service failed"})
    services.recordings.answer = broken
    reply = await gateway.get(CONVERSATIONS, token)
    assert (reply.status, reply.json()) == (503, {"error": "Service unavailable"})
    assert reply.headers["Retry-After"] == "1"
    await services.recordings.stop()
    reply = await gateway.get(CONVERSATIONS, token)
    assert (reply.status, reply.json()) == (503, {"error": "Service unavailable"})
    assert reply.headers["Retry-After"] == "1"


@pytest.mark.parametrize("head", ["Content-Length: 300000\r\n", "Transfer-Encoding: chunked\r\n"])
async def test_an_answer_that_breaks_off_ends_the_connection_and_no_other_follows(
    gateway: Gateway, services: Services, token: str, head: str
) -> None:
    async def broken(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        body = b"11170\r\n" + b"x" * 70_000 + b"\r\n" if "chunked" in head else b"x" * 70_000
        request.transport.write(f"HTTP/1.1 200 OK\r\n{head}\r\n".encode() + body)
        await asyncio.sleep(0.1)
        request.transport.abort()
        return web.Response()

    services.recordings.answer = broken
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(f"GET {CONVERSATIONS} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n".encode())
    received = b""
    with suppress(ConnectionError):
        while chunk := await asyncio.wait_for(reader.read(65536), 5):
            received += chunk
    writer.transport.abort()
    assert received.startswith(b"HTTP/1.1 200 ")
    assert received.count(b"HTTP/1.1") == 1
    assert not received.endswith(b"0\r\n\r\n"), "it must not look complete"


async def test_a_get_is_tried_once_more_on_a_connection_error(gateway: Gateway, services: Services, token: str) -> None:
    async def drops_the_first(request: web.Request) -> web.StreamResponse:
        if len(services.recordings.seen) == 1:
            assert request.transport is not None
            request.transport.abort()
        return web.json_response({"ok": True})

    services.recordings.answer = drops_the_first
    reply = await gateway.get(CONVERSATIONS, token)
    assert (reply.status, reply.json()) == (200, {"ok": True})
    assert len(services.recordings.seen) == 2


async def test_a_get_waits_out_a_restart_and_an_outage_is_told_at_once(
    gateway: Gateway, services: Services, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await services.recordings.stop()
    waiting = [asyncio.create_task(gateway.get(CONVERSATIONS, token)) for _ in range(10)]
    await asyncio.sleep(0.3)
    await services.recordings.start()
    assert {reply.status for reply in await asyncio.gather(*waiting)} == {200}
    await services.recordings.stop()
    monkeypatch.setattr(upstream, "_RESTART_SECONDS", 0.3)
    assert (await gateway.get(CONVERSATIONS, token)).status == 503
    asked = time.monotonic()
    assert (await gateway.get(CONVERSATIONS, token)).status == 503
    assert time.monotonic() - asked < 0.1, "it has been down for longer than a restart takes"


async def test_a_client_that_never_reads_stops_the_flow_from_the_service(
    gateway: Gateway, services: Services, token: str
) -> None:
    written = 0

    async def endless(request: web.Request) -> web.StreamResponse:
        nonlocal written
        response = web.StreamResponse()
        await response.prepare(request)
        while written < 200_000_000:
            await response.write(b"x" * 65536)
            written += 65536
        return response

    services.recordings.answer = endless
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port, limit=1024)
    writer.write(f"GET {CONVERSATIONS} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n".encode())
    await reader.readline()
    before = -1
    deadline = time.monotonic() + 5
    while before != written and time.monotonic() < deadline:
        before = written
        await asyncio.sleep(0.2)
    assert before == written < 100_000_000
    writer.transport.abort()


async def _status(answer: Answer) -> int:
    await answer.read()
    return answer.status


async def _outcome(service: Service) -> int:
    try:
        return await service.ask("GET", "/x", CIMultiDict(), _status)
    except VoiceError as error:
        return error.status


async def test_a_slow_service_is_a_504_and_a_full_bulkhead_a_503(services: Services) -> None:
    async def slow(_request: web.Request) -> web.Response:
        await asyncio.sleep(5)
        return web.Response()

    services.recordings.answer = slow
    async with make_session() as session:
        patience = Patience(connect=0.2, first_byte=0.2, total=0.5)
        service = Service(ServiceName.RECORDINGS, services.recordings.url, session, patience=patience, places=2)
        outcomes = await asyncio.gather(*(_outcome(service) for _ in range(3)))
        assert sorted(outcomes) == [503, 504, 504]
        services.recordings.answer = None
        assert [await _outcome(service) for _ in range(3)] == [200] * 3, "places are free again"


@pytest.mark.parametrize(
    ("patience", "status"), [(Patience(first_byte=1.0, total=30.0), 200), (Patience(first_byte=30.0, total=0.3), 504)]
)
async def test_a_body_has_the_whole_time_and_not_that_for_the_first_byte(
    services: Services, patience: Patience, status: int
) -> None:
    async def rests(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"{")
        await asyncio.sleep(1.3)  # longer than the first byte may take
        await response.write(b"}")
        return response

    services.recordings.answer = rests
    async with make_session() as session:
        service = Service(ServiceName.RECORDINGS, services.recordings.url, session, patience=patience)
        assert await _outcome(service) == status


async def test_a_circuit_opens_after_failures_and_one_probe_closes_it(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upstream, "_RESTART_SECONDS", 0.0)
    await services.recordings.stop()
    async with make_session() as session:
        service = Service(ServiceName.RECORDINGS, services.recordings.url, session)
        assert [await _outcome(service) for _ in range(5)] == [503] * 5
        assert service._breaker.is_open
        await services.recordings.start()
        assert await _outcome(service) == 503, "the circuit rests"
        service._breaker._open_until = 0.0
        outcomes = await asyncio.gather(*(_outcome(service) for _ in range(4)))
        assert sorted(outcomes) == [200, 503, 503, 503], "one probe at a time"
        assert await _outcome(service) == 200


LONG = 4_000_000
"""Bytes of an answer that no buffer between service and client holds."""


async def _long(_request: web.Request) -> web.Response:
    return web.Response(body=b"x" * LONG)


async def _long_enough(_request: web.Request) -> web.Response:
    return web.Response(body=b"x" * 10 * LONG)


async def _raw_get(
    gateway: Gateway, token: str, *, holds: int = 64 * 1024
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Ask by a connection that takes little at a time: `holds` bytes at most that are not read yet."""
    client = socket.create_connection(("127.0.0.1", gateway.port))
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, holds)
    reader, writer = await asyncio.open_connection(sock=client, limit=holds)
    writer.write(f"GET {CONVERSATIONS} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n".encode())
    return reader, writer


async def test_callers_that_leave_a_hanging_service_open_the_circuit_and_those_that_leave_early_do_not(
    services: Services,
) -> None:
    gated = services.analytics.answer = Gated()
    session = make_session()
    for first_byte, opens in ((60.0, False), (0.2, True)):
        patience = Patience(first_byte=first_byte)
        service = Service(ServiceName.ANALYTICS, services.analytics.url, session, patience=patience)
        for _ in range(service._breaker._failures_to_open):
            begun = gated.begun
            asking = asyncio.create_task(_outcome(service))
            await until(lambda begun=begun: gated.begun > begun)  # type: ignore[misc] # bound at once
            await asyncio.sleep(0.12)
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
        assert service._breaker.is_open is opens
    await session.close()


async def test_a_client_that_reads_slowly_gets_all_of_it_and_no_circuit_opens(
    run_gateway: RunGateway, services: Services, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upstream, "Patience", lambda: Patience(first_byte=5.0, total=1.5))
    services.recordings.answer = _long
    async with run_gateway() as gateway:

        async def slowly() -> float:
            reader, writer = await _raw_get(gateway, token)
            await reader.readuntil(b"\r\n\r\n")
            began, read = time.monotonic(), 0
            while read < LONG:
                chunk = await reader.read(128 * 1024)
                assert chunk, f"it broke off after {read} bytes"
                read += len(chunk)
                if time.monotonic() - began < 2.5:
                    await asyncio.sleep(0.08)
            writer.close()
            return time.monotonic() - began

        took = await asyncio.gather(*(slowly() for _ in range(6)))
        assert min(took) > 1.5, "longer than the service may take"
        services.recordings.answer = None
        assert (await gateway.get(CONVERSATIONS, token)).status == 200


async def test_what_a_slow_client_takes_shows_while_the_kernel_still_holds_more_of_it(
    gateway: Gateway, services: Services, token: str
) -> None:
    """Else who reads a few KB a second is taken for one who reads nothing, until a third of some MB is gone."""
    services.recordings.answer = _long_enough
    reader, writer = await _raw_get(gateway, token, holds=128 * 1024)
    await reader.read(1)
    connections = gateway.app[EDGE].connections
    await until(lambda: any(each.unread_bytes() for each in connections._all))
    (connection,) = (each for each in connections._all if each.unread_bytes())
    before = -1
    while before != connection.unread_bytes():  # until nothing flows any more
        before = connection.unread_bytes()
        await asyncio.sleep(0.3)
    assert isinstance(connection, EdgeProtocol)
    wire = connection._wire
    assert wire is not None
    waiting = wire.get_write_buffer_size()
    taken = 0
    while taken < 768 * 1024:
        taken += len(await reader.read(64 * 1024))
    await until(lambda: connection.unread_bytes() != before)
    assert wire.get_write_buffer_size() == waiting, "the kernel took no more yet"
    writer.transport.abort()


async def test_clients_that_reset_while_they_are_answered_are_no_failure_of_the_service(
    run_gateway: RunGateway, services: Services, token: str
) -> None:
    let_go = asyncio.Event()

    async def waits(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"x" * 1000)
        await let_go.wait()
        await response.write(b"x" * LONG)
        return response

    services.recordings.answer = waits
    async with run_gateway() as gateway:
        for _ in range(10):
            reader, writer = await _raw_get(gateway, token)
            await reader.readuntil(b"\r\n\r\n")
            writer.transport.abort()
        let_go.set()
        services.recordings.answer = None
        for _ in range(5):
            assert (await gateway.get(CONVERSATIONS, token)).status == 200


@pytest.mark.parametrize("failing", ["prepare", "write", "write_eof"])
async def test_a_client_that_is_gone_at_any_step_of_its_answer_opens_no_circuit(
    services: Services, failing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same by each step: aiohttp says it by an error that its client says of a server, too."""

    async def gone(*_: object, **__: object) -> None:
        raise ClientConnectionResetError

    monkeypatch.setattr(web, "StreamResponse", type("Gone", (web.StreamResponse,), {failing: gone}))
    services.recordings.answer = None
    async with make_session() as session:
        service = Service(ServiceName.RECORDINGS, services.recordings.url, session)

        async def streamed(answer: Answer) -> int:
            await proxy._pass_on(request, answer)
            return 200

        for _ in range(6):
            request = make_mocked_request("GET", "/x")
            monkeypatch.setattr(proxy, "_AT_ONCE", -1)
            with pytest.raises(ConnectionResetError):
                await service.ask("GET", "/x", CIMultiDict(), streamed)
        assert not service._breaker.is_open


@pytest.mark.parametrize(("headers", "opens"), [({}, True), ({WELL_HEADER: "1"}, False)])
async def test_a_services_own_503_opens_the_circuit_unless_it_is_of_the_request(
    services: Services, *, headers: dict[str, str], opens: bool
) -> None:
    services.recordings.answer = says(503, {"error": "Service unavailable"}, headers)
    async with make_session() as session:
        service = Service(ServiceName.RECORDINGS, services.recordings.url, session)
        assert [await _outcome(service) for _ in range(5)] == [503] * 5
        assert service._breaker.is_open is opens


@pytest.mark.parametrize("status", [400, 401, 404, 413, 429, 500, 501])
async def test_an_answer_that_a_client_can_provoke_opens_no_circuit(services: Services, status: int) -> None:
    services.recordings.answer = says(status, {"error": "x"})
    async with make_session() as session:
        service = Service(ServiceName.RECORDINGS, services.recordings.url, session)
        assert [await _outcome(service) for _ in range(20)] == [status] * 20


async def test_what_a_service_says_of_itself_stays_inside(gateway: Gateway, services: Services, token: str) -> None:
    services.recordings.answer = says(503, {"error": "Service unavailable"}, {WELL_HEADER: "1", "Retry-After": "1"})
    assert WELL_HEADER not in (await gateway.get(CONVERSATIONS, token)).headers


async def test_a_403_never_reaches_the_service(
    gateway: Gateway, services: Services, database: Database, tenant: str
) -> None:
    token = await make_token(database, tenant, ["analytics:read"])
    assert (await gateway.get(CONVERSATIONS, token)).status == 403
    assert services.recordings.seen == []
