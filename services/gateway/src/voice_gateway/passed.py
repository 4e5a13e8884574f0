"""A service's answer that is passed on in one piece."""

from __future__ import annotations

from typing import NamedTuple

from aiohttp import web


class Passed(NamedTuple):
    """A status below 400, those headers that a client may see, and a whole body that is small."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def response(self) -> web.Response:
        """Give it as a response of aiohttp."""
        return web.Response(status=self.status, headers=self.headers, body=self.body)
