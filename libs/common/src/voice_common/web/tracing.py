"""Spans of requests: one for each that comes in, one for each that goes out, tied by W3C's trace context.

All of it is left out where traces are off: then a service is put together without it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler
from multidict import CIMultiDict, CIMultiDictProxy
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.propagators.textmap import Getter
from opentelemetry.trace import Span, SpanKind, StatusCode, Tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.util.types import AttributeValue
from yarl import URL

from voice_common.telemetry.traces import TRACES
from voice_common.web.observe import OPS_PATHS, TENANT, UNKNOWN, Observer, request_id_of

_SPAN = web.RequestKey("span", Span)
_PROPAGATOR = TraceContextTextMapPropagator()
_METHODS = frozenset(hdrs.METH_ALL)
_SERVER_ERROR = 500
_ERROR = 400

Request = TypeVar("Request", bound=web.BaseRequest)
Handle = Callable[[Request], Awaitable[web.StreamResponse]]


class _Lines(Getter[Mapping[str, str]]):
    """Reads headers in all their lines; a trace context that came twice is none."""

    def get(self, carrier: Mapping[str, str], key: str) -> list[str] | None:
        values = carrier.getall(key, None) if isinstance(carrier, CIMultiDictProxy) else None
        return None if values is None else [",".join(values)]

    def keys(self, carrier: Mapping[str, str]) -> list[str]:
        return list(carrier)


_LINES = _Lines()


def context_of(request: web.BaseRequest) -> Context:
    """Give the trace context that a request brings."""
    return _PROPAGATOR.extract(request.headers, getter=_LINES)


def traced(handle: Handle[web.BaseRequest]) -> Handle[web.BaseRequest]:
    """Give `handle` within a span for each request; `handle` itself where traces are off."""
    tracer = TRACES.tracer
    if tracer is None:
        return handle

    async def handle_traced(request: web.BaseRequest) -> web.StreamResponse:
        return await _within_span(tracer, request, handle)

    return handle_traced


@web.middleware
async def trace_requests(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Handle a request within a span, where nothing before the application made one."""
    if TRACES.tracer is None or _SPAN in request:
        return await handler(request)
    return await _within_span(TRACES.tracer, request, handler)


async def _within_span(tracer: Tracer, request: Request, handle: Handle[Request]) -> web.StreamResponse:
    if request.path in OPS_PATHS:  # probes and scrapes would be most of all traces
        return await handle(request)
    method = request.method if request.method in _METHODS else "HTTP"
    attributes = {"http.request.method": request.method, "url.path": request.path, "url.scheme": request.scheme}
    context = context_of(request)
    with tracer.start_as_current_span(method, context, SpanKind.SERVER, attributes) as span:
        request[_SPAN] = span
        return await handle(request)


class TracedObserver(Observer):
    """An observer that describes a request's span as well."""

    def record(self, request: web.BaseRequest, route: str, method: str, status: int, started: float) -> None:
        """Take note of a request that is over."""
        super().record(request, route, method, status, started)
        span = request.get(_SPAN)
        if span is None:
            return
        span.set_attributes({"http.response.status_code": status, "voice.request_id": request_id_of(request)})
        if route != UNKNOWN:
            span.update_name(f"{method} {route}")
            span.set_attribute("http.route", route)
        if (tenant := request.get(TENANT)) is not None:
            span.set_attribute("voice.tenant", tenant)
        if status >= _SERVER_ERROR:
            span.set_attribute("error.type", str(status))
            span.set_status(StatusCode.ERROR)


class Outgoing:
    """The span of one request that goes out."""

    def __init__(self, tracer: Tracer, method: str, url: URL, headers: CIMultiDict[str]) -> None:
        attributes: dict[str, AttributeValue] = {
            "http.request.method": method,
            "url.full": str(url.with_user(None)),
            "server.address": url.host or "",
            "server.port": url.port or 0,
        }
        self._span = tracer.start_span(method, kind=SpanKind.CLIENT, attributes=attributes)
        _PROPAGATOR.inject(headers, trace.set_span_in_context(self._span))

    def answered(self, status: int) -> None:
        """Say that the head of an answer is there."""
        self._span.set_attribute("http.response.status_code", status)
        if status >= _ERROR:
            self._end_with(str(status))
        else:
            self._span.end()

    def failed(self, error: BaseException) -> None:
        """Say that no answer came."""
        self._end_with(type(error).__name__)

    def _end_with(self, error: str) -> None:
        self._span.set_attribute("error.type", error)
        self._span.set_status(StatusCode.ERROR)
        self._span.end()


def outgoing(method: str, base: URL, target: str, headers: CIMultiDict[str]) -> Outgoing | None:
    """Begin the span of a request for `target` of the service at `base`, and pass its context on in `headers`.

    ``None`` where traces are off.
    """
    tracer = TRACES.tracer
    return None if tracer is None else Outgoing(tracer, method, base.join(URL(target, encoded=True)), headers)
