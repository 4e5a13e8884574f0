"""A collector of traces: takes OTLP over HTTP on loopback and keeps the spans."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span as Sent
from opentelemetry.proto.trace.v1.trace_pb2 import Status


@dataclass(frozen=True)
class Span:
    """One span as a collector got it; ids in hex, `kind` as OTLP has it without its prefix."""

    service: str
    name: str
    kind: str
    trace: str
    id: str
    parent: str
    links: frozenset[tuple[str, str]]
    attributes: dict[str, str | int]
    failed: bool


@dataclass
class Collector:
    """The spans that came in; `url` is what ``OTEL_EXPORTER_OTLP_ENDPOINT`` is to be."""

    url: str = ""
    spans: list[Span] = field(default_factory=list)

    def of(self, trace: str) -> list[Span]:
        return [span for span in self.spans if span.trace == trace]

    def one(self, trace: str, service: str, kind: str, name: str) -> Span:
        """Give the one span of a trace that is described so."""
        (found,) = [span for span in self.of(trace) if (span.service, span.kind, span.name) == (service, kind, name)]
        return found

    def children(self, parent: Span) -> list[Span]:
        return [span for span in self.of(parent.trace) if span.parent == parent.id]


@contextmanager
def collecting() -> Iterator[Collector]:
    """Run a collector."""
    collector = Collector()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(collector.spans.extend))
    collector.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield collector
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _handler(keep: Callable[[list[Span]], None]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            right = self.path == "/v1/traces" and self.headers["Content-Type"] == "application/x-protobuf"
            if right:
                keep(_spans_of(ExportTraceServiceRequest.FromString(body)))
            answer = ExportTraceServiceResponse().SerializeToString()
            self.send_response(200 if right else 400)
            self.send_header("Content-Type", "application/x-protobuf")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
            """Say nothing."""

    return Handler


def _spans_of(request: ExportTraceServiceRequest) -> list[Span]:
    return [
        _span_of(str(_attributes(resource.resource.attributes)["service.name"]), span)
        for resource in request.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]


def _span_of(service: str, span: Sent) -> Span:
    return Span(
        service,
        span.name,
        Sent.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_"),
        span.trace_id.hex(),
        span.span_id.hex(),
        span.parent_span_id.hex(),
        frozenset((link.trace_id.hex(), link.span_id.hex()) for link in span.links),
        _attributes(span.attributes),
        span.status.code == Status.StatusCode.STATUS_CODE_ERROR,
    )


def _attributes(pairs: Iterable[KeyValue]) -> dict[str, str | int]:
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value") or "string_value") for pair in pairs}
