"""Bare aiohttp, under the same gunicorn as our services: ``python -m benchmarks.gateway.bare hello|pass_through``.

The pass-through sends what comes to the service that `UPSTREAM` names, and reads the answer whole before it gives it:
for small bodies that is faster than a stream.
"""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator

import aiohttp
from aiohttp import hdrs, web
from yarl import URL

from voice_common.serving import serve
from voice_common.settings import ServiceSettings

_OWN = frozenset({"Connection", "Keep-Alive", "Transfer-Encoding", "Content-Length", "Date", "Server"})
_SESSION = web.AppKey("session", aiohttp.ClientSession)


async def hello() -> web.Application:
    """Make an application that says hello on the path of the overview."""

    async def greet(_request: web.Request) -> web.Response:
        return web.Response(text="hello")

    app = web.Application()
    app.router.add_get("/api/voice/analytics/overview", greet)
    return app


async def pass_through() -> web.Application:
    """Make an application that passes every request on."""
    upstream = os.environ["UPSTREAM"]

    async def session(app: web.Application) -> AsyncIterator[None]:
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector, auto_decompress=False) as made:
            app[_SESSION] = made
            yield

    async def forward(request: web.Request) -> web.Response:
        headers = request.headers.copy()
        del headers[hdrs.HOST]
        url = URL(upstream + request.raw_path, encoded=True)
        async with request.app[_SESSION].request(request.method, url, headers=headers) as answer:
            kept = [(name, value) for name, value in answer.headers.items() if name not in _OWN]
            return web.Response(status=answer.status, headers=dict(kept), body=await answer.read())

    app = web.Application()
    app.cleanup_ctx.append(session)
    app.router.add_route("*", "/{path:.*}", forward)
    return app


if __name__ == "__main__":
    serve("bench", f"benchmarks.gateway.bare:{sys.argv[1]}", ServiceSettings)
