"""Runs a service's application on its port, behind a front that answers the hottest requests where there is one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from voice_common.web.protocol import MAX_HEADER, MAX_TARGET, ContractProtocol
from voice_common.web.tracing import traced

_KEEP_ALIVE_SECONDS = 75.0

Front = Callable[[web.BaseRequest], Awaitable[web.StreamResponse | None]]


class _Server(web.Server):
    def __call__(self) -> RequestHandler:
        return ContractProtocol(self, loop=self._loop, **self._kwargs)


class ServiceRunner(web.AppRunner):
    """Runs an application; `drain_seconds` is what requests under way get when it stops.

    `front` sees each request first, and gives ``None`` where it is for the application.
    """

    def __init__(self, app: web.Application, *, drain_seconds: float, front: Front | None = None) -> None:
        # Bodies as they were sent: what aiohttp decodes on its own, and can't, ends in a 500 before any handler.
        super().__init__(
            app,
            shutdown_timeout=drain_seconds,
            keepalive_timeout=_KEEP_ALIVE_SECONDS,
            max_line_size=MAX_TARGET,
            max_field_size=MAX_HEADER,
            auto_decompress=False,
            access_log=None,
        )
        self._front = front

    async def _make_server(self) -> web.Server:
        await super()._make_server()  # starts the application
        app, front = self.app, self._front

        async def handle(request: web.BaseRequest) -> web.StreamResponse:
            answer = None if front is None else await front(request)
            return answer if answer is not None else await app._handle(request)  # type: ignore[arg-type] # noqa: SLF001 - what aiohttp's own server is given

        return _Server(traced(handle), request_factory=app._make_request, **self._kwargs)  # noqa: SLF001 - as above
