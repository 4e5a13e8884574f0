"""A front: it answers a service's hottest requests, and leaves the others to the application behind it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import web

from voice_common.web.tracing import traced

_KEEP_ALIVE_SECONDS = 75.0

Front = Callable[[web.BaseRequest], Awaitable[web.StreamResponse | None]]


class FrontRunner(web.AppRunner):
    """Runs an application behind a front; `drain_seconds` is what requests under way get when it stops."""

    def __init__(self, app: web.Application, front: Front, *, drain_seconds: float) -> None:
        # Bodies as they were sent: what aiohttp decodes on its own, and can't, ends in a 500 before any handler.
        super().__init__(
            app,
            shutdown_timeout=drain_seconds,
            keepalive_timeout=_KEEP_ALIVE_SECONDS,
            auto_decompress=False,
            access_log=None,
        )
        self._front = front

    async def _make_server(self) -> web.Server:
        await super()._make_server()  # starts the application
        app, front = self.app, self._front

        async def handle(request: web.BaseRequest) -> web.StreamResponse:
            answer = await front(request)
            return answer if answer is not None else await app._handle(request)  # type: ignore[arg-type] # noqa: SLF001 - what aiohttp's own server is given

        return web.Server(traced(handle), request_factory=app._make_request, **self._kwargs)  # noqa: SLF001 - as above
