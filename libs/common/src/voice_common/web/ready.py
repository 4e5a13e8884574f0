"""A small answer that goes out with one write, for hot paths: head and body are bytes already.

aiohttp's own response is made for everything (streams, cookies, compression, signals); for an answer of a few
hundred bytes that costs more than all the rest of the request.
"""

from __future__ import annotations

from http import HTTPStatus

from aiohttp import ClientConnectionResetError, hdrs, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.helpers import rfc822_formatted_time

_STATUS_LINES = {int(status): f"HTTP/1.1 {int(status)} {status.phrase}\r\n" for status in HTTPStatus}
_BODILESS = frozenset({204, 304})
_OWN = frozenset({hdrs.CONTENT_LENGTH, hdrs.DATE, hdrs.SERVER})

Headers = list[tuple[str, str]]


def is_plain(request: web.BaseRequest) -> bool:
    """Tell whether a `ReadyResponse` may answer: HTTP/1.1, kept alive, and nothing asked of the connection."""
    return request.version == (1, 1) and request.keep_alive and hdrs.UPGRADE not in request.headers


class ReadyResponse(web.StreamResponse):
    """An answer to a request that `is_plain`; header values come from this side only, or were checked."""

    def __init__(self, status: int, headers: Headers, body: bytes = b"") -> None:
        # Not the base's, which makes all that this one does without.
        self._status = status
        lines = "".join([f"{name}: {value}\r\n" for name, value in headers])
        length = "" if status in _BODILESS else f"{hdrs.CONTENT_LENGTH}: {len(body)}\r\n"
        own = f"{length}{hdrs.DATE}: {rfc822_formatted_time()}\r\n{hdrs.SERVER}: voice\r\n\r\n"
        self._bytes = f"{_STATUS_LINES[status]}{lines}{own}".encode(errors="surrogateescape") + body

    @classmethod
    def of(cls, response: web.Response) -> web.StreamResponse:
        """Give a whole answer as one that goes out at once, where its connection stays open."""
        if response.keep_alive is False or not isinstance(response.body, bytes | None):
            return response
        headers = [(name, value) for name, value in response.headers.items() if name not in _OWN]
        return cls(response.status, headers, response.body or b"")

    @property
    def status(self) -> int:
        """The status."""
        return self._status

    @property
    def keep_alive(self) -> bool:
        """The connection stays open."""
        return True

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter:
        """Send all of it."""
        transport = request.transport
        if transport is None or transport.is_closing():
            raise ClientConnectionResetError("Cannot write to closing transport")
        transport.write(self._bytes)
        self._writer = request.writer
        return self._writer

    async def write_eof(self, data: bytes = b"") -> None:  # noqa: ARG002 - the base's signature
        """Wait for a client that reads slowly."""
        await self._writer.drain()
