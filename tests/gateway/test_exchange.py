"""One exchange with a service, against a server that says byte for byte what the test wants."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from gateway_factories import until
from multidict import CIMultiDict

from voice_gateway.exchange import Exchanges
from voice_gateway.upstream import make_session

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Scripted:
    """Answers each head with the next of `answers`; counts its connections, and keeps what it was sent."""

    def __init__(self, *answers: bytes) -> None:
        self.answers = list(answers)
        self.heads: list[bytes] = []
        self.opened = 0
        self.closed = 0

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.opened += 1
        try:
            while True:
                self.heads.append(await reader.readuntil(b"\r\n\r\n"))
                writer.write(self.answers.pop(0))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            self.closed += 1
            writer.close()


@asynccontextmanager
async def served(scripted: Scripted, path: str = "") -> AsyncIterator[Exchanges]:
    server = await asyncio.start_server(scripted, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}{path}"
    async with server, make_session() as session:
        yield Exchanges(url, session, connect_seconds=1)


async def ask(exchanges: Exchanges, method: str = "GET", target: str = "/x") -> tuple[int, bytes]:
    with await exchanges.begin(method, target, CIMultiDict({"A": "1"}), None) as answer:
        return answer.status, await answer.read()


async def test_a_connection_is_used_again_once_its_answer_was_read() -> None:
    scripted = Scripted(OK, OK, b"HTTP/1.1 204 No Content\r\n\r\n", OK)
    async with served(scripted, "/behind/") as exchanges:
        answers = [await ask(exchanges) for _ in range(4)]
    assert answers == [(200, b"ok"), (200, b"ok"), (204, b""), (200, b"ok")]
    assert scripted.opened == 1
    host = scripted.heads[0].split(b"Host: ")[1].split(b"\r\n")[0]
    assert scripted.heads == [b"GET /behind/x HTTP/1.1\r\nHost: " + host + b"\r\nA: 1\r\n\r\n"] * 4


async def test_the_head_of_an_answer_is_not_waited_for_a_body_of() -> None:
    scripted = Scripted(b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n", OK)
    async with served(scripted) as exchanges:
        assert await ask(exchanges, "HEAD") == (200, b"")
        assert await ask(exchanges) == (200, b"ok")
    assert scripted.opened == 1


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
    ],
)
async def test_a_connection_whose_answer_was_not_read_to_its_end_is_closed(answer: bytes) -> None:
    scripted = Scripted(answer, OK)
    async with served(scripted) as exchanges:
        with await exchanges.begin("GET", "/x", CIMultiDict(), None) as begun:
            assert begun.status == 200
        await until(lambda: scripted.closed == 1)
        assert await ask(exchanges) == (200, b"ok")
    assert scripted.opened == 2


async def test_what_comes_before_an_answer_is_skipped() -> None:
    scripted = Scripted(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + OK)
    async with served(scripted) as exchanges:
        assert await ask(exchanges) == (200, b"ok")


@pytest.mark.parametrize("value", ["1\r\nEvil: 1", "1\nEvil: 1", "1\rEvil: 1", "1\0"])
async def test_no_header_is_sent_as_two(value: str) -> None:
    scripted = Scripted(OK)
    async with served(scripted) as exchanges:
        with pytest.raises(ValueError, match="taken for two"):
            await exchanges.begin("GET", "/x", CIMultiDict({"A": value}), None)
    assert scripted.heads == []


async def test_a_header_goes_on_with_the_bytes_it_came_with() -> None:
    scripted = Scripted(OK)
    async with served(scripted) as exchanges:
        headers = CIMultiDict({"A": b"caf\xe9 \xc3\xa9".decode(errors="surrogateescape")})
        with await exchanges.begin("POST", "/x", headers, [b""]) as answer:
            assert answer.status == 200
    assert b"\r\nA: caf\xe9 \xc3\xa9\r\nContent-Length: 0\r\n\r\n" in scripted.heads[0]


async def test_an_exchange_that_is_given_up_ends_its_connection() -> None:
    scripted = Scripted(b"", OK)
    async with served(scripted) as exchanges:
        task = asyncio.create_task(ask(exchanges))
        await until(lambda: bool(scripted.heads))
        task.cancel()
        await until(lambda: scripted.closed == 1)
        assert await ask(exchanges) == (200, b"ok")
