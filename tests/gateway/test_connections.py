"""Clients that hold connections: too many of them, or too slowly."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from gateway_factories import CONVERSATIONS, OVERVIEW, Gateway, RunGateway, Services, until
from prometheus_client import REGISTRY
from raw_http import all_of, asks, split

from voice_gateway import connections
from voice_gateway.connections import allow_files
from voice_gateway.edge import EDGE

HOOK = "/api/webhooks/telnyx/voice"
SLOW = 0.4

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@asynccontextmanager
async def connected(gateway: Gateway, count: int = 1, host: str = "127.0.0.1") -> AsyncIterator[list[Streams]]:
    streams = [await asyncio.open_connection(host, gateway.port) for _ in range(count)]
    try:
        yield streams
    finally:
        for _, writer in streams:
            writer.transport.abort()


def ended(reason: str) -> float:
    return REGISTRY.get_sample_value("voice_gateway_connections_ended_total", {"reason": reason}) or 0.0


def held_by(gateway: Gateway) -> int:
    return len(gateway.app[EDGE].connections)


def held_back(services: Services) -> asyncio.Event:
    """Let requests for conversations wait until the event is set."""
    release = asyncio.Event()

    async def late(_request: web.Request) -> web.Response:
        await release.wait()
        return web.json_response({})

    services.recordings.answer = late
    return release


def ask_for_conversations(writer: asyncio.StreamWriter, token: str) -> None:
    writer.write(f"GET {CONVERSATIONS} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n".encode())


async def test_a_head_that_trickles_is_a_408(run_gateway: RunGateway) -> None:
    async with run_gateway(slow_client_seconds=SLOW) as gateway, connected(gateway) as [(reader, writer)]:
        before, started = ended("slow_head"), time.monotonic()
        answered = asyncio.create_task(all_of(reader))
        for byte in f"GET {CONVERSATIONS} HTTP/1.1\r\nHost: x\r\nX-Slow: ".encode() + b"a" * 1000:
            writer.write(bytes([byte]))
            await asyncio.sleep(0.02)
            if answered.done():
                break
        status, headers, body = split(await answered)
        assert (status, body) == (408, {"error": "The request took too long to arrive"})
        assert headers.keys() >= {"x-request-id", "date", "content-type", "cache-control"}
        assert headers["connection"] == "close"
        assert time.monotonic() - started >= SLOW
        assert ended("slow_head") == before + 1


async def test_the_second_head_of_a_connection_may_not_trickle_either(run_gateway: RunGateway) -> None:
    async with run_gateway(slow_client_seconds=SLOW) as gateway, connected(gateway, 2) as [after, together]:
        assert await asks(*after) == 200
        after[1].write(b"GET /livez HT")
        assert split(await all_of(after[0]))[0] == 408
        together[1].write(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\nGET /livez HT")
        await together[0].readuntil(b"}")
        assert split(await all_of(together[0]))[0] == 408


async def test_a_head_that_begins_while_another_request_is_under_way_may_not_trickle_either(
    run_gateway: RunGateway, services: Services, token: str
) -> None:
    release = held_back(services)
    async with run_gateway(slow_client_seconds=SLOW) as gateway, connected(gateway) as [(reader, writer)]:
        ask_for_conversations(writer, token)
        await until(lambda: len(services.recordings.seen) == 1)
        writer.write(b"GET /livez HT")
        await asyncio.sleep(SLOW * 1.5)
        release.set()
        assert (await reader.readuntil(b"{}")).startswith(b"HTTP/1.1 200"), "who waits for us is not slow"
        assert split(await all_of(reader))[0] == 408


async def test_who_sent_a_body_and_then_rests_is_not_slow(run_gateway: RunGateway) -> None:
    async with run_gateway(slow_client_seconds=SLOW) as gateway, connected(gateway) as [(reader, writer)]:
        writer.write(f"POST {HOOK} HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\n{{".encode())
        await asyncio.sleep(0.05)
        writer.write(b"}  ")
        assert (await reader.readuntil(b"}")).startswith(b"HTTP/1.1 200")
        await asyncio.sleep(SLOW * 2)
        assert await asks(reader, writer) == 200


async def test_a_connection_without_a_request_is_no_slow_head(run_gateway: RunGateway) -> None:
    async with run_gateway(slow_client_seconds=SLOW) as gateway, connected(gateway, 2) as [silent, kept]:
        await asks(*kept)
        kept[1].write(b"\r\n")  # an empty line between requests is none
        await asyncio.sleep(SLOW * 2)
        for reader, writer in (silent, kept):
            assert await asks(reader, writer) == 200


async def test_a_body_that_trickles_is_a_408_in_time(gateway: Gateway, services: Services) -> None:
    async with connected(gateway) as [(reader, writer)]:
        started = time.monotonic()
        writer.write(f"POST {HOOK} HTTP/1.1\r\nHost: x\r\nContent-Length: 5000\r\n\r\n".encode())
        answered = asyncio.create_task(reader.readuntil(b"}"))
        while not answered.done():
            writer.write(b"{")
            await asyncio.wait({answered}, timeout=0.05)
        status, headers, body = split(await answered)
        assert (status, headers["connection"]) == (408, "close")
        assert body == {"error": "The request took too long to arrive"}
        assert time.monotonic() - started < 1.5
        assert not services.webhooks.seen


async def test_a_slow_body_where_there_is_none_to_read_is_answered_at_once(gateway: Gateway, token: str) -> None:
    async with connected(gateway) as [(reader, writer)]:
        auth = f"Host: x\r\nAuthorization: Bearer {token}\r\n"
        writer.write(f"GET {OVERVIEW} HTTP/1.1\r\n{auth}Content-Length: 9\r\n\r\n".encode())
        assert split(await reader.readuntil(b"}"))[0] == 400


async def test_an_answer_that_nobody_reads_is_given_up(run_gateway: RunGateway, services: Services, token: str) -> None:
    async def endless(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        while True:
            await answer.write(b"x" * 65536)

    services.recordings.answer = endless
    async with run_gateway(slow_client_seconds=SLOW) as gateway:
        before = ended("unread_answer")
        with socket.create_connection(("127.0.0.1", gateway.port)) as client:
            client.sendall(f"GET {CONVERSATIONS} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n".encode())
            await until(lambda: ended("unread_answer") > before, 10)
        await until(lambda: held_by(gateway) == 0)


async def test_a_client_with_too_many_connections_loses_its_oldest_idle_one(run_gateway: RunGateway) -> None:
    async with run_gateway(connections_per_client=5) as gateway, connected(gateway, 5) as streams:
        reader, writer = streams[0]
        await asks(reader, writer)
        async with connected(gateway) as [(newest, asking)]:
            assert await asks(newest, asking) == 200
            assert await all_of(streams[1][0]) == b"", "the oldest that never asked anything goes first"
            assert held_by(gateway) == 5
            assert await asks(reader, writer) == 200, "one that was used goes last"


async def test_where_all_of_a_clients_connections_are_busy_a_new_one_is_a_503(
    run_gateway: RunGateway, services: Services, token: str
) -> None:
    release = held_back(services)
    async with run_gateway(connections_per_client=2) as gateway, connected(gateway, 2) as streams:
        for _, writer in streams:
            ask_for_conversations(writer, token)
        await until(lambda: len(services.recordings.seen) == 2)
        async with connected(gateway) as [(reader, writer)]:
            writer.write(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
            status, headers, body = split(await all_of(reader))
            assert (status, body) == (503, {"error": "There are too many connections"})
            assert headers["retry-after"] == "1"
        async with gateway.session.get(gateway.ops_url + "/livez") as operators:
            assert operators.status == 200
        release.set()
        for reader, _ in streams:
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")


async def test_one_client_keeps_no_other_out_and_trusted_proxies_have_no_limit(run_gateway: RunGateway) -> None:
    async with run_gateway(connections_per_client=3, trusted_proxies=["127.0.0.1"]) as gateway:
        async with connected(gateway, 8):
            await until(lambda: held_by(gateway) == 8)
        await until(lambda: held_by(gateway) == 0)
        assert gateway.app[EDGE].connections._by_client == {}


async def test_a_full_process_makes_room_for_new_connections(run_gateway: RunGateway) -> None:
    async with run_gateway(connections=4) as gateway, connected(gateway, 4), connected(gateway, 4) as newer:
        await until(lambda: held_by(gateway) == 4)
        for reader, writer in newer:
            assert await asks(reader, writer) == 200


async def test_headers_are_counted_against_their_setting(run_gateway: RunGateway) -> None:
    async with run_gateway(request_headers=20) as gateway:
        for count, expected in ((18, b"200"), (21, b"431")):
            async with connected(gateway) as [(reader, writer)]:
                more = "".join(f"X-{number}: a\r\n" for number in range(count - 1))
                writer.write(f"GET /livez HTTP/1.1\r\nHost: x\r\n{more}\r\n".encode())
                assert (await reader.readuntil(b"\r\n\r\n")).split(b" ")[1] == expected


async def test_the_longest_idle_one_goes_where_all_have_asked(run_gateway: RunGateway) -> None:
    async with run_gateway(connections_per_client=3) as gateway, connected(gateway, 3) as streams:
        for number in (1, 2, 0):
            assert await asks(*streams[number]) == 200
            await asyncio.sleep(0.002)
        async with connected(gateway) as [newest]:
            assert await asks(*newest) == 200
            assert await all_of(streams[1][0]) == b""
            for kept in (streams[2], streams[0]):
                assert await asks(*kept) == 200


async def test_farewells_take_only_so_many_files(
    run_gateway: RunGateway, services: Services, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "_MOST_FAREWELLS", 3)
    release = held_back(services)
    async with run_gateway(connections_per_client=1) as gateway, connected(gateway) as [(_, writer)]:
        ask_for_conversations(writer, token)
        await until(lambda: len(services.recordings.seen) == 1)
        book = gateway.app[EDGE].connections
        async with connected(gateway, 5) as refused:
            for reader, _ in refused:
                assert split(await all_of(reader))[0] == 503
            assert len(book._leaving) <= 3
        await until(lambda: not book._leaving)
        release.set()


@pytest.mark.parametrize("at_once", [True, False], ids=["at once", "in pieces"])
async def test_all_headers_together_are_bounded(run_gateway: RunGateway, *, at_once: bool) -> None:
    async with run_gateway(request_head_bytes=20 * 1024) as gateway:
        for size, expected in ((4000, 200), (5200, 431)):
            head = "GET /livez HTTP/1.1\r\nHost: x\r\n" + "".join(f"X-{n}: {'a' * size}\r\n" for n in range(4)) + "\r\n"
            async with connected(gateway) as [(reader, writer)]:
                for piece in [head] if at_once else (head[at : at + 3000] for at in range(0, len(head), 3000)):
                    writer.write(piece.encode())
                    await asyncio.sleep(0.01)
                answer = await reader.readuntil(b"\r\n\r\n")
                assert answer.startswith(f"HTTP/1.1 {expected} ".encode())
                if expected == 431:
                    assert b"Connection: close" in answer
                    assert json.loads(await all_of(reader)) == {"error": "The request headers are too large"}


async def test_a_large_body_is_no_large_head(run_gateway: RunGateway, services: Services) -> None:
    async with run_gateway(request_head_bytes=20 * 1024) as gateway:
        async with gateway.session.post(gateway.url + HOOK, data=b"x" * 900_000) as answer:
            assert answer.status == 200
        assert [len(seen.body) for seen in services.webhooks.seen] == [900_000]


async def test_webhooks_that_would_fill_the_memory_are_a_503_and_the_others_are_taken(
    run_gateway: RunGateway, services: Services
) -> None:
    large = 1000 * 1024
    async with run_gateway(webhook_memory_mb=4) as gateway, connected(gateway, 5) as streams:
        for _, writer in streams:
            writer.write(f"POST {HOOK} HTTP/1.1\r\nHost: x\r\nContent-Length: {large}\r\n\r\n".encode())
            writer.write(b"x" * (large - 1))
        answers = [split(await reader.readuntil(b"}")) for reader, _ in streams]
        assert sorted(status for status, _, _ in answers) == [408, 408, 408, 408, 503]
        assert not services.webhooks.seen
        async with gateway.session.post(gateway.url + HOOK, data=b"x" * large) as answer:
            assert answer.status == 200, "what was held is let go"


async def test_the_size_of_a_webhook_is_a_setting(run_gateway: RunGateway, services: Services) -> None:
    async with run_gateway(webhook_bytes=65_536) as gateway:
        for size, expected in ((65_537, 413), (65_536, 200)):
            async with gateway.session.post(gateway.url + HOOK, data=b"x" * size) as answer:
                assert answer.status == expected
    assert [len(seen.body) for seen in services.webhooks.seen] == [65_536]


def test_files_are_allowed_as_far_as_the_system_lets_us() -> None:
    assert allow_files(100) == 100
    assert 0 < allow_files(1_000_000_000) < 1_000_000_000
