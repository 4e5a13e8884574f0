"""One connection of a client: entered in the book, and with the contract's errors where no request is to be had."""

from __future__ import annotations

import asyncio
import fcntl
import struct
import termios
from email.utils import formatdate
from typing import Any, NamedTuple, cast

from aiohttp import HttpVersion10, HttpVersion11, hdrs, web
from aiohttp.http import RawRequestMessage
from aiohttp.http_exceptions import BadHttpMessage, BadHttpMethod
from aiohttp.http_parser import HttpRequestParser
from aiohttp.streams import EMPTY_PAYLOAD, StreamReader
from aiohttp.web_protocol import _ErrInfo

from voice_common.errors import RequestTimeout
from voice_common.web.protocol import MAX_HEADER, MAX_TARGET, ContractProtocol, unseen
from voice_gateway.connections import Connections, Ending
from voice_gateway.methods import with_unknown_method
from voice_gateway.metrics import MALFORMED_REQUESTS
from voice_gateway.targets import in_origin_form

LINGER_SECONDS = 2.0
"""For how long what a client still sends is read and dropped, so that it sees the answer and not a reset."""

_VERSIONS = frozenset({HttpVersion10, HttpVersion11})
_INT = struct.Struct("i")
_READ_BYTES = 64 * 1024
_END_OF_HEAD = b"\r\n\r\n"


class Edge(NamedTuple):
    """What the edge goes by: the book of connections, what a request may have, the operators' port."""

    connections: Connections
    headers: int
    head_bytes: int
    body_bytes: int
    metrics_port: int


class HeadTooLargeError(Exception):
    """A request's target and headers have more bytes than they may have together."""


class EdgeProtocol(ContractProtocol):
    """aiohttp's connection, as the book of connections looks at it."""

    __slots__ = ("_connections", "_edge", "_head_bytes", "_last_body", "_wire", "head_since", "unread")

    def __init__(self, edge: Edge, manager: web.Server, **options: Any) -> None:  # noqa: ANN401 - aiohttp's own
        super().__init__(manager, **options)
        self._connections = edge.connections
        self._edge = edge
        self._wire: asyncio.Transport | None = None
        self._head_bytes = 0
        self._last_body: StreamReader = EMPTY_PAYLOAD
        self.head_since = 0.0
        self.unread = (0, 0.0)

    @property
    def is_idle(self) -> bool:
        """Whether no request is there or under way."""
        return self._waiter is not None and not self._waiter.done()

    @property
    def has_asked(self) -> bool:
        """Whether there ever was a request."""
        return self._request_count > 0

    @property
    def idle_until(self) -> float:
        """When it would be closed for being idle."""
        return self._next_keepalive_close_time

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Serve a new connection, or refuse it; operators are never refused."""
        self._wire = wire = cast("asyncio.Transport", transport)  # uvloop's is one without being of its class
        sockname, peername = wire.get_extra_info("sockname"), wire.get_extra_info("peername")
        port = self._edge.metrics_port
        internal = bool(port) and isinstance(sockname, tuple) and sockname[1] == port
        peer = peername[0] if isinstance(peername, tuple) else None
        if internal or self._connections.admit(self, peer):
            super().connection_made(transport)
        else:
            self.end(Ending.REFUSED)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Forget it."""
        self._connections.forget(self)
        self._wire = None
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read what came, and note since when a request's head is on its way, and how much of it is there."""
        size, count, in_body = self._head_bytes + len(data), self._request_count, not self._last_body.is_eof()
        super().data_received(data)
        if size > self._edge.head_bytes:
            self._refuse_large_heads()
        if count != self._request_count:
            self._amend(data)
            self._last_body = self._messages[-1][1]
            self._head_bytes = 0
            begun = data and self._last_body is EMPTY_PAYLOAD and not data.endswith(_END_OF_HEAD)
            self.head_since = self._connections.clock() if begun else 0.0
        elif not in_body and (self.head_since or data.strip(b"\r\n")):  # empty lines begin no head
            self._head_bytes = size
            self.head_since = self.head_since or self._connections.clock()

    def _amend(self, data: bytes) -> None:
        """Make of what the parser says of requests what the contract says of them; `data` is what it read last."""
        for place, (message, payload) in enumerate(self._messages):
            if isinstance(message, _ErrInfo):
                if isinstance(message.exc, BadHttpMethod):
                    known = with_unknown_method(data, self._new_parser)
                    self._messages[place] = (known or message, payload)
            elif (
                message.version is not HttpVersion11 and message.version not in _VERSIONS
            ):  # aiohttp would answer in the version that was asked for
                self._messages[place] = (_ErrInfo(400, BadHttpMessage("version"), ""), payload)
            elif message.path[:1] != "/":
                self._messages[place] = (in_origin_form(message), payload)

    def _new_parser(self) -> HttpRequestParser:
        return HttpRequestParser(
            self,
            self._loop,
            _READ_BYTES,
            max_line_size=MAX_TARGET,
            max_field_size=MAX_HEADER,
            max_headers=self._edge.headers,
            auto_decompress=False,
        )

    def _refuse_large_heads(self) -> None:
        """See whether it is heads that are so large, and not bodies; one that is not whole yet ends the connection."""
        for place, (message, payload) in enumerate(self._messages):
            if _size_of(message) > self._edge.head_bytes:
                self._messages[place] = (_ErrInfo(400, HeadTooLargeError(), ""), payload)
        if not self._messages and self.is_idle and self._wire is not None:
            self._take_leave(self._wire, *self.refusal(HeadTooLargeError()))

    def unread_bytes(self) -> int:
        """Give how many bytes wait for the client to take them, once there are more than the kernel holds for it.

        With what the kernel holds: of a client that reads a few KB a second, that shrinks for minutes before the rest
        does.
        """
        size = 0 if self._wire is None else self._wire.get_write_buffer_size()
        return size + _held_by_kernel(self._wire) if size and self._wire is not None else 0

    def end(self, ending: Ending) -> None:
        """End it: with an answer where the client waits for one, at once where it would not read any."""
        if self._wire is None:
            return
        if ending is Ending.SLOW_HEAD:
            self._take_leave(self._wire, 408, RequestTimeout.message)
        elif ending is Ending.REFUSED:
            self._take_leave(self._wire, 503, "There are too many connections")
        elif ending is Ending.UNREAD_ANSWER:
            self._wire.abort()
        else:
            self.force_close()

    def _take_leave(self, wire: asyncio.Transport, status: int, sentence: str) -> None:
        """Answer what is no request yet, and go; `wire` stays open a little, or a reset might outrun the answer."""
        self.count_refusal(status)
        self._force_close = True  # nothing more is read
        if self._waiter is not None:
            self._waiter.cancel()
        wire.write(_bytes_of(unseen(status, sentence)))
        if wire.can_write_eof() and self._connections.may_take_leave(self):
            wire.write_eof()
            self._loop.call_later(LINGER_SECONDS, wire.abort)
        else:
            wire.close()

    def refusal(self, error: BaseException | None) -> tuple[int, str]:
        """Give status and sentence for what the parser refused, or the edge."""
        if isinstance(error, HeadTooLargeError):
            return 431, "The request headers are too large"
        return super().refusal(error)

    def count_refusal(self, status: int) -> None:
        """Count a request that could not be parsed."""
        MALFORMED_REQUESTS.labels(status).inc()

    def log_exception(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - aiohttp's own signature
        """Log what a client's broken body does to its connection as what it is: nothing to act on."""
        error = kwargs.get("exc_info")
        if isinstance(error, web.RequestPayloadError):
            self.count_refusal(400)
        else:
            super().log_exception(*args, **kwargs)


def _held_by_kernel(wire: asyncio.Transport) -> int:
    """Give the bytes that were sent and that the client's side has not acknowledged yet (tcp(7), SIOCOUTQ)."""
    held = fcntl.ioctl(wire.get_extra_info("socket").fileno(), termios.TIOCOUTQ, bytes(_INT.size))
    return int(_INT.unpack(held)[0])


def _bytes_of(response: web.Response) -> bytes:
    """Give a whole answer as it goes out on a connection that ends with it."""
    body = response.body
    assert isinstance(body, bytes)  # noqa: S101 - errors are
    headers = {
        **response.headers,
        hdrs.CONTENT_LENGTH: str(len(body)),
        hdrs.DATE: formatdate(usegmt=True),
        hdrs.CONNECTION: "close",
    }
    head = [f"HTTP/1.1 {response.status} {response.reason}", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


def _size_of(message: RawRequestMessage | _ErrInfo) -> int:
    """Give the bytes of a request's head, as far as its client chose them."""
    if isinstance(message, _ErrInfo):
        return 0
    return len(message.path) + sum(len(name) + len(value) + len(": \r\n") for name, value in message.raw_headers)
