"""One log line, one count and one duration for each request, at a price that a hot path can pay.

Access lines are written some at a time: a process that is killed may lose the last 50 ms of them.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import orjson
import structlog
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware
from prometheus_client import Counter, Histogram

from voice_common.ids import request_id
from voice_common.telemetry.metrics import HTTP_DURATION, HTTP_REQUESTS
from voice_common.telemetry.tally import TALLY

REQUEST_ID_HEADER = "X-Request-ID"
REQUEST_ID = web.RequestKey("request_id", str)
TENANT = web.RequestKey("tenant", str)
_FLUSH_SECONDS = 0.05
OPS_PATHS = frozenset({"/livez", "/readyz", "/metrics"})
"""The operators' routes: they are measured, and neither logged nor traced."""

UNKNOWN = "unknown"
"""The route of a request that goes by none."""

CLIENT_LEFT = 499
"""The status that a request without an answer is counted under."""


def request_id_of(request: web.BaseRequest) -> str:
    """Give the request's id: the client's own where it has the right form, else one made for it."""
    known = request.get(REQUEST_ID)
    if known is None:
        headers = request.headers  # a plain dict where aiohttp made the request up for what it could not parse
        sent = headers.getall(REQUEST_ID_HEADER) if REQUEST_ID_HEADER in headers else []
        known = request[REQUEST_ID] = request_id(sent[0] if len(sent) == 1 else None)
    return known


async def stamp(request: web.BaseRequest, response: web.StreamResponse) -> None:
    """Put the request's id on a response as it starts, streamed ones too."""
    response.headers[REQUEST_ID_HEADER] = request_id_of(request)
    response.headers["Server"] = "voice"


class AccessLog:
    """Writes access lines to standard error."""

    def __init__(self, *, enabled: bool) -> None:
        self.enabled = enabled
        self._lines: list[bytes] = []

    def write(self, fields: dict[str, Any]) -> None:
        """Write one line, soon."""
        if not self._lines:
            asyncio.get_running_loop().call_later(_FLUSH_SECONDS, self.flush)
        self._lines.append(orjson.dumps(fields, option=orjson.OPT_UTC_Z | orjson.OPT_APPEND_NEWLINE))

    def flush(self) -> None:
        """Write what is left."""
        lines, self._lines = self._lines, []
        if lines:
            sys.stderr.write(b"".join(lines).decode())
            sys.stderr.flush()


class Observer:
    """Counts, measures and logs requests by their route."""

    def __init__(self, service: str, log: AccessLog) -> None:
        self._service = service
        self._log = log
        self._metrics: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}

    def show(self, routes: Iterable[tuple[str, str]]) -> None:
        """Show routes, by ``(route, method)``, before anybody asks: a rate needs a value to start from."""
        for route, method in routes:
            HTTP_REQUESTS.labels(route, method, 200)
            HTTP_DURATION.labels(route, 200)

    def record(self, request: web.BaseRequest, route: str, method: str, status: int, started: float) -> None:
        """Take note of a request that is over; `started` is by `time.perf_counter`."""
        elapsed = time.perf_counter() - started
        metrics = self._metrics.get((route, method, status))
        if metrics is None:  # labels() takes locks and makes strings: once is enough
            metrics = HTTP_REQUESTS.labels(route, method, status), HTTP_DURATION.labels(route, status)
            self._metrics[route, method, status] = metrics
        counter, duration = metrics
        TALLY.count(counter)
        TALLY.observe(duration, elapsed)
        if self._log.enabled and route not in OPS_PATHS:
            self._log.write(
                {
                    "method": request.method,
                    "route": route,
                    "status": status,
                    "tenant": request.get(TENANT),
                    "duration_ms": round(elapsed * 1000, 2),
                    "event": "request",
                    "request_id": request_id_of(request),
                    "level": "info",
                    "timestamp": datetime.now(UTC),
                    "service": self._service,
                }
            )

    def middleware(self) -> Middleware:
        """Make the middleware that binds the request's id to the log, and records each request."""

        @web.middleware
        async def observe(request: web.Request, handler: Handler) -> web.StreamResponse:
            started = time.perf_counter()
            # aiohttp handles each request in a task of its own, so this ends with the request.
            structlog.contextvars.bind_contextvars(request_id=request_id_of(request))
            status = CLIENT_LEFT
            try:
                response = await handler(request)
                status = response.status
                return response
            finally:
                resource = request.match_info.route.resource
                if resource is None:
                    self.record(request, UNKNOWN, "other", status, started)
                else:
                    self.record(request, resource.canonical, request.method, status, started)

        return observe
