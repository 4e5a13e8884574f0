"""One log line, one count and one duration for each request, at a price that a hot path can pay.

Access lines are written some at a time: a process that is killed may lose the last 50 ms of them.
"""

from __future__ import annotations

import asyncio
import sys
import time
from datetime import UTC, datetime
from typing import Any

import orjson
import structlog
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware
from prometheus_client import Counter, Histogram

from voice_common.ids import request_id
from voice_common.telemetry.metrics import HTTP_DURATION, HTTP_REQUESTS

REQUEST_ID_HEADER = "X-Request-ID"
REQUEST_ID = web.RequestKey("request_id", str)
TENANT = web.RequestKey("tenant", str)
_FLUSH_SECONDS = 0.05
_QUIET = frozenset({"/livez", "/readyz", "/metrics"})
_UNKNOWN = "unknown"


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


class AccessLog:
    """Writes access lines to standard error."""

    def __init__(self, *, enabled: bool) -> None:
        self._enabled = enabled
        self._lines: list[bytes] = []

    def write(self, fields: dict[str, Any]) -> None:
        """Write one line, soon."""
        if not self._enabled:
            return
        if not self._lines:
            asyncio.get_running_loop().call_later(_FLUSH_SECONDS, self.flush)
        self._lines.append(orjson.dumps(fields, option=orjson.OPT_UTC_Z | orjson.OPT_APPEND_NEWLINE))

    def flush(self) -> None:
        """Write what is left."""
        lines, self._lines = self._lines, []
        if lines:
            sys.stderr.write(b"".join(lines).decode())
            sys.stderr.flush()


def observer(service: str, log: AccessLog) -> Middleware:
    """Make the middleware that binds the request's id to the log, and logs and measures each request by its route."""
    counts: dict[tuple[str, str, int], Counter] = {}
    durations: dict[str, Histogram] = {}

    def count(route: str, method: str, status: int, seconds: float) -> None:
        counter = counts.get((route, method, status))
        if counter is None:  # labels() takes locks and makes strings: once is enough
            counter = counts[route, method, status] = HTTP_REQUESTS.labels(route, method, status)
        counter.inc()
        duration = durations.get(route)
        if duration is None:
            duration = durations[route] = HTTP_DURATION.labels(route)
        duration.observe(seconds)

    @web.middleware
    async def observe(request: web.Request, handler: Handler) -> web.StreamResponse:
        started = time.perf_counter()
        known = request_id_of(request)
        # aiohttp handles each request in a task of its own, so this ends with the request.
        structlog.contextvars.bind_contextvars(request_id=known)
        status = 499
        try:
            response = await handler(request)
            status = response.status
            return response
        finally:
            elapsed = time.perf_counter() - started
            resource = request.match_info.route.resource
            route = resource.canonical if resource is not None else _UNKNOWN
            count(route, request.method if resource is not None else "other", status, elapsed)
            if route not in _QUIET:
                log.write(
                    {
                        "method": request.method,
                        "route": route,
                        "status": status,
                        "tenant": request.get(TENANT),
                        "duration_ms": round(elapsed * 1000, 2),
                        "event": "request",
                        "request_id": known,
                        "level": "info",
                        "timestamp": datetime.now(UTC),
                        "service": service,
                    }
                )

    return observe
