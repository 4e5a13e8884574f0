"""The strict HTTP edge: what is no clean request never reaches a route, and every answer is the contract's."""

from __future__ import annotations

from functools import partial
from typing import Any

from aiohttp import HttpVersion11, hdrs, web
from aiohttp.typedefs import Handler, Middleware
from aiohttp.web_protocol import RequestHandler

from voice_common.errors import ContentTooLarge, NotFound
from voice_common.web.observe import stamp
from voice_common.web.protocol import MAX_HEADER, MAX_TARGET
from voice_common.web.render import error_response
from voice_common.web.tracing import traced
from voice_gateway.express import DRESS, EXPRESS
from voice_gateway.handlers import brief_readiness
from voice_gateway.headers import combined
from voice_gateway.metrics import MALFORMED_REQUESTS
from voice_gateway.protocol import LINGER_SECONDS, Edge, EdgeProtocol
from voice_gateway.targets import is_clean, is_internal

_KEEP_ALIVE_SECONDS = 75.0
_CONTINUE = "100-continue"
_OPS = frozenset({"/livez", "/readyz", "/metrics"})

EDGE = web.AppKey("edge", Edge)


class EdgeServer(web.Server):
    """Makes an `EdgeProtocol` for each connection."""

    def __init__(self, edge: Edge, *arguments: Any, **options: Any) -> None:  # noqa: ANN401 - aiohttp's own
        super().__init__(*arguments, **options)
        self._edge = edge

    def __call__(self) -> RequestHandler:
        """Make one."""
        return EdgeProtocol(self._edge, self, loop=self._loop, **self._kwargs)


class EdgeRunner(web.AppRunner):
    """Runs the gateway's application behind the strict edge."""

    def __init__(self, app: web.Application, *, drain_seconds: float) -> None:
        super().__init__(app, shutdown_timeout=drain_seconds)
        self._express = app[EXPRESS]
        self._edge = app[EDGE]

    async def _make_server(self) -> web.Server:
        await super()._make_server()  # starts the application
        app, express, largest = self.app, self._express, self._edge.body_bytes

        async def handle(request: web.BaseRequest) -> web.StreamResponse:
            answer = await express.answer(request) or _unmet(request, largest)
            if answer is not None:
                return answer
            return await app._handle(request)  # type: ignore[arg-type] # noqa: SLF001 - what aiohttp's own server is given

        return EdgeServer(
            self._edge,
            traced(handle),
            request_factory=partial(app._make_request, _cls=_request_class(app)),  # noqa: SLF001 - as above
            handler_cancellation=True,
            keepalive_timeout=_KEEP_ALIVE_SECONDS,
            lingering_time=LINGER_SECONDS,
            max_line_size=MAX_TARGET,
            max_field_size=MAX_HEADER,
            max_headers=self._edge.headers,
            auto_decompress=False,
            access_log=None,
        )


def _unmet(request: web.BaseRequest, largest: int) -> web.Response | None:
    """Refuse what an ``Expect`` asks for and can't have, before aiohttp bids the body welcome.

    aiohttp's own refusal of an unknown expectation repeats it, and fails where it is no text.
    """
    expected = combined(request.headers, hdrs.EXPECT)
    if expected is None or request.version != HttpVersion11:
        return None
    if {each.strip().lower() for each in expected.split(",")} != {_CONTINUE}:
        return _closing(417, "Expectation can't be met")
    if request.content_length is not None and request.content_length > largest:
        return _closing(413, ContentTooLarge.message)
    return None


def _request_class(app: web.Application) -> type[web.Request]:
    """Make the class of requests whose answers are dressed as the application's, whoever makes them."""

    class EdgeRequest(web.Request):
        async def _prepare_hook(self, response: web.StreamResponse) -> None:
            if self._match_info is None:
                await stamp(self, response)
                await app[DRESS](self, response)
            else:
                await super()._prepare_hook(response)

    return EdgeRequest


def strict(metrics_port: int) -> Middleware:
    """Make the middleware that refuses odd requests and keeps the two ports' routes apart."""

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        target = request.raw_path
        path = target.partition("?")[0]
        if not is_clean(target):
            return _closing(400, "Malformed request target")
        headers = request.headers
        coding = combined(headers, hdrs.TRANSFER_ENCODING)
        if hdrs.TRAILER in headers or (coding is not None and request.version < (1, 1)):
            return _closing(400, "Malformed request")
        if coding is not None and coding.strip().lower() != "chunked":  # RFC 9112 §6.1; aiohttp passes over the rest
            return _closing(501, "The transfer coding is not known")
        internal = is_internal(request, metrics_port)
        if internal != (path in _OPS) and (internal or path == "/metrics"):
            raise NotFound
        if path == "/readyz" and not internal and request.method in {"GET", "HEAD"}:
            return await brief_readiness(request)
        return await handler(request)

    return check


def _closing(status: int, sentence: str) -> web.Response:
    MALFORMED_REQUESTS.labels(status).inc()
    response = error_response(status, sentence)
    response.force_close()
    return response
