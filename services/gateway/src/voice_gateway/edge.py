"""The strict HTTP edge: what is no clean request never reaches a route, and every answer is the contract's."""

from __future__ import annotations

from functools import partial
from typing import Any

import structlog
from aiohttp import HttpVersion10, HttpVersion11, hdrs, web
from aiohttp.http_exceptions import LineTooLong
from aiohttp.typedefs import Handler, Middleware
from aiohttp.web_protocol import RequestHandler

from voice_common.errors import NotFound
from voice_common.ids import request_id
from voice_common.web.observe import REQUEST_ID_HEADER, request_id_of, stamp
from voice_common.web.render import error_response
from voice_common.web.tracing import traced
from voice_gateway.express import DRESS, EXPRESS
from voice_gateway.handlers import brief_readiness
from voice_gateway.metrics import MALFORMED_REQUESTS
from voice_gateway.targets import is_clean, is_internal

MAX_TARGET = 8190  # what the services behind take, too
MAX_HEADER = 8189  # unlike MAX_TARGET, so that aiohttp's LineTooLong tells by its limit which one it was
MAX_HEADERS = 100  # the services take 128, and the gateway adds some
_LINGER_SECONDS = 2.0
_KEEP_ALIVE_SECONDS = 75.0
_VERSIONS = frozenset({HttpVersion10, HttpVersion11})
_OPS = frozenset({"/livez", "/readyz", "/metrics"})
_log = structlog.get_logger("voice.gateway.edge")


class EdgeProtocol(RequestHandler):
    """aiohttp's connection, with errors of the contract for what its parser refuses."""

    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002 - shows what was sent; it is not for the answer
    ) -> web.StreamResponse:
        """Answer a request that could not be parsed, or whose handler failed beyond the middlewares."""
        if isinstance(exc, ConnectionError) or request.writer.output_size > 0:
            closed = "nobody is there, or an answer is out already"
            raise ConnectionError(closed)
        sentence = "Internal server error"
        if status == 400:  # noqa: PLR2004 - the parser's
            status, sentence = _refusal(exc)
            MALFORMED_REQUESTS.labels(status).inc()
        else:
            _log.error("request failed at the edge", error=type(exc).__name__)
        response = error_response(status, sentence, {hdrs.CACHE_CONTROL: "private, no-store", "Server": "voice"})
        response.headers[REQUEST_ID_HEADER] = request_id(None)
        response.force_close()
        return response

    def log_exception(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - aiohttp's own signature
        """Log what a client's broken body does to its connection as what it is: nothing to act on."""
        error = kwargs.get("exc_info")
        if isinstance(error, web.RequestPayloadError):
            MALFORMED_REQUESTS.labels(400).inc()
        else:
            super().log_exception(*args, **kwargs)


def _refusal(error: BaseException | None) -> tuple[int, str]:
    if isinstance(error, LineTooLong):
        if error.args[1] == MAX_TARGET:
            return 414, "The request target is too long"
        return 431, "A request header is too large"
    if error is not None and "Too many headers" in str(error):
        return 431, "There are too many request headers"
    return 400, "Malformed request"


class EdgeServer(web.Server):
    """Makes an `EdgeProtocol` for each connection."""

    def __call__(self) -> RequestHandler:
        """Make one."""
        return EdgeProtocol(self, loop=self._loop, **self._kwargs)


class EdgeRunner(web.AppRunner):
    """Runs the gateway's application behind the strict edge."""

    def __init__(self, app: web.Application, *, drain_seconds: float) -> None:
        super().__init__(app, shutdown_timeout=drain_seconds)
        self._express = app[EXPRESS]

    async def _make_server(self) -> web.Server:
        await super()._make_server()  # starts the application
        app, express = self.app, self._express

        async def handle(request: web.BaseRequest) -> web.StreamResponse:
            if request.version not in _VERSIONS:  # aiohttp would answer in the version that was asked for
                MALFORMED_REQUESTS.labels(400).inc()
                raise ConnectionResetError
            answer = await express.answer(request)
            if answer is not None:
                return answer
            try:
                return await app._handle(request)  # type: ignore[arg-type] # noqa: SLF001 - what aiohttp's own server is given
            except web.HTTPException as error:  # raised before the middlewares: an Expect that can't be met
                response = error_response(error.status, "Expectation can't be met")
                response.headers[REQUEST_ID_HEADER] = request_id_of(request)
                response.force_close()
                return response

        return EdgeServer(
            traced(handle),
            request_factory=partial(app._make_request, _cls=_request_class(app)),  # noqa: SLF001 - as above
            handler_cancellation=True,
            keepalive_timeout=_KEEP_ALIVE_SECONDS,
            lingering_time=_LINGER_SECONDS,
            max_line_size=MAX_TARGET,
            max_field_size=MAX_HEADER,
            max_headers=MAX_HEADERS,
            auto_decompress=False,
            access_log=None,
        )


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
        if hdrs.TRAILER in headers or (hdrs.TRANSFER_ENCODING in headers and request.version < (1, 1)):
            return _closing(400, "Malformed request")
        internal = is_internal(request, metrics_port)
        if internal != (path in _OPS) and (internal or path == "/metrics"):
            raise NotFound
        if path == "/metrics" and not internal:
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
