"""One request to a service and its answer, over a connection of aiohttp's pool and through aiohttp's parser.

What its client session does beside that (redirects, cookies, auth, content codings, a request and a response object for
each) is nothing that a gateway wants, and costs as much as the rest of a forwarded request: see decision 0018.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Self

import aiohttp
from aiohttp import StreamReader, hdrs
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from aiohttp.http import RawResponseMessage
from aiohttp.http_exceptions import HttpProcessingError
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from voice_common.web.tracing import outgoing

_READ_BYTES = 256 * 1024
_SMALL = 16 * 1024
_NOT_YET = range(100, 200)
_SWITCHED = 101


Body = Sequence[bytes]
"""A request's body in the pieces in which it came."""


class NoHttpError(aiohttp.ClientError):
    """The service answered what is no HTTP."""


class Answer:
    """An answer whose head is there. Leaving its context ends the exchange.

    `watch` is told ``True`` as each wait for the service begins and ``False`` as it ends: what whoever reads does in
    between is not the service's time.
    """

    __slots__ = ("_connection", "_content", "headers", "status", "watch")

    def __init__(
        self, status: int, headers: CIMultiDictProxy[str], content: StreamReader, connection: Connection
    ) -> None:
        self.status = status
        self.headers = headers
        self.watch: Callable[[bool], None] = _nobody
        self._content = content
        self._connection = connection

    @property
    def content_length(self) -> int | None:
        """Bytes of the body, where the head says so."""
        length = self.headers.get(hdrs.CONTENT_LENGTH)
        return None if length is None else int(length)

    @property
    def content_type(self) -> str:
        """The media type, without parameters, in lower case."""
        return self.headers.get(hdrs.CONTENT_TYPE, "").partition(";")[0].strip().lower()

    async def read(self) -> bytes:
        """Give the whole body."""
        return await self._content.read()

    async def chunks(self) -> AsyncIterator[bytes]:
        """Give the body as it comes, at the pace of whoever takes it."""
        while True:
            self.watch(True)  # noqa: FBT003 - a callback with one argument
            chunk = await self._content.readany()
            self.watch(False)  # noqa: FBT003 - as above
            if not chunk:
                return
            yield chunk

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.release()  # the pool closes one whose answer was not read to its end


def _nobody(waiting: bool) -> None:  # noqa: FBT001 - a callback's one argument
    """Tell nobody."""


class Exchanges:
    """Asks one service, by the connections of `session`; `connect_seconds` is how long one may take to be made."""

    def __init__(self, url: str, session: aiohttp.ClientSession, *, connect_seconds: float) -> None:
        base = URL(url)
        connector = session.connector
        if connector is None:
            message = "the session is closed"
            raise RuntimeError(message)
        self._connector = connector
        self._prefix = base.raw_path.rstrip("/")
        self._host = base.host_port_subcomponent
        self._where = aiohttp.ClientRequest(hdrs.METH_GET, base)  # all that the pool asks of it is where to connect to
        self._timeout = aiohttp.ClientTimeout(total=None, sock_connect=connect_seconds)

    async def begin(self, method: str, target: str, headers: CIMultiDict[str], body: Body | None) -> Answer:
        """Send a request and give the answer as its head arrives.

        `target` is a clean origin-form. Raises what aiohttp's client raises (`ClientConnectorError`,
        `ServerTimeoutError` while connecting, `ClientConnectionError` where it was broken off) and `NoHttpError`.
        """
        span = outgoing(method, self._where.url, target, headers)
        if span is None:
            return await self._exchange(method, target, headers, body)
        try:
            answer = await self._exchange(method, target, headers, body)
        except BaseException as error:
            span.failed(error)
            raise
        span.answered(answer.status)
        return answer

    async def _exchange(self, method: str, target: str, headers: CIMultiDict[str], body: Body | None) -> Answer:
        request = self._pieces(method, target, headers, body)
        connection = await self._connect()
        try:
            message, content = await _ask(connection.protocol, request, bodiless=method == hdrs.METH_HEAD)
        except HttpProcessingError as error:
            connection.close()
            raise NoHttpError from error
        except BaseException:
            connection.close()
            raise
        return Answer(message.code, message.headers, content, connection)

    async def _connect(self) -> Connection:
        try:
            return await self._connector.connect(self._where, [], self._timeout)
        except TimeoutError as error:
            raise aiohttp.ConnectionTimeoutError(f"connecting to {self._host} took too long") from error

    def _pieces(self, method: str, target: str, headers: CIMultiDict[str], body: Body | None) -> list[bytes]:
        lines = [f"{method} {self._prefix}{target} HTTP/1.1", f"Host: {self._host}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        if body is not None:
            lines.append(f"Content-Length: {sum(map(len, body))}")
        head = "\r\n".join(lines)
        if head.count("\n") != len(lines) - 1 or head.count("\r") != len(lines) - 1 or "\0" in head:
            message = "a header would be taken for two"
            raise ValueError(message)
        return [f"{head}\r\n\r\n".encode(errors="surrogateescape"), *(body or ())]


async def _ask(
    protocol: ResponseHandler | None, request: list[bytes], *, bodiless: bool
) -> tuple[RawResponseMessage, StreamReader]:
    """Send a request and give the head of its answer, with the stream of its body."""
    if protocol is None or protocol.transport is None:
        raise aiohttp.ServerDisconnectedError
    protocol.set_response_params(
        skip_payload=bodiless, read_until_eof=True, auto_decompress=False, read_bufsize=_READ_BYTES
    )
    if sum(map(len, request)) <= _SMALL:
        protocol.transport.write(b"".join(request))  # one call to the system
    else:
        protocol.transport.writelines(request)  # as they are: joined, a large body would be there twice
    message, content = await protocol.read()
    while message.code in _NOT_YET and message.code != _SWITCHED:
        message, content = await protocol.read()
    return message, content
