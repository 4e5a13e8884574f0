"""One log line, one count and one duration for each request; its id on every response."""

from __future__ import annotations

import time

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler

from voice_common.ids import request_id
from voice_common.telemetry.metrics import HTTP_DURATION, HTTP_REQUESTS

REQUEST_ID_HEADER = "X-Request-ID"
REQUEST_ID = web.RequestKey("request_id", str)
TENANT = web.RequestKey("tenant", str)
_QUIET = frozenset({"/livez", "/readyz", "/metrics"})
_log = structlog.get_logger("voice.access")


def request_id_of(request: web.BaseRequest) -> str:
    """Give the request's id: the client's own where it has the right form, else one made for it."""
    known = request.get(REQUEST_ID)
    if known is None:
        known = request[REQUEST_ID] = request_id(request.headers.get(REQUEST_ID_HEADER))
    return known


async def stamp(request: web.BaseRequest, response: web.StreamResponse) -> None:
    """Put the request's id on a response as it starts, streamed ones too."""
    response.headers[REQUEST_ID_HEADER] = request_id_of(request)
    response.headers["Server"] = "voice"


@web.middleware
async def observe(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Bind the request's id to the log, then log and measure the request by its route."""
    started = time.perf_counter()
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(request_id=request_id_of(request))
    status = 499
    try:
        response = await handler(request)
        status = response.status
        return response
    finally:
        elapsed = time.perf_counter() - started
        resource = request.match_info.route.resource
        route = resource.canonical if resource is not None else "unknown"
        HTTP_REQUESTS.labels(route, request.method if resource is not None else "other", status).inc()
        HTTP_DURATION.labels(route).observe(elapsed)
        if route not in _QUIET:
            _log.info(
                "request",
                method=request.method,
                route=route,
                status=status,
                tenant=request.get(TENANT),
                duration_ms=round(elapsed * 1000, 2),
            )
