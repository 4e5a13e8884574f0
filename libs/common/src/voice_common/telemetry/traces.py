"""Traces by OpenTelemetry: spans leave this process by OTLP over HTTP, where a collector's address is set.

`OTEL_EXPORTER_OTLP_ENDPOINT` (or `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`) switches them on; the SDK's other `OTEL_*`
variables (sampler, headers, resource attributes, batches) mean what OpenTelemetry says. Without an address nothing of
the SDK is imported, and what asks for spans is left out when a service is put together.
"""

from __future__ import annotations

import asyncio
import os
import threading
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, NonRecordingSpan, SpanContext, SpanKind, Tracer

from voice_common.settings import SettingsError

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_PROTOCOL = "http/protobuf"
_MOST_LINKS = 1024
"""As many as a projection takes events at once; the SDK's own default would lose most of a batch's."""

_CLOSE_SECONDS = 2.0
"""Longest that a stop waits for the collector."""


def traces_wanted(environment: Mapping[str, str] = os.environ) -> bool:
    """Tell whether the environment asks for traces; raise `SettingsError` where it asks for another protocol."""
    if environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    if environment.get("OTEL_TRACES_EXPORTER", "").strip().lower() == "none":
        return False
    if not any(environment.get(name) for name in _ENDPOINTS):
        return False
    for name in _PROTOCOLS:
        if environment.get(name) not in {None, "", _PROTOCOL}:
            raise SettingsError(f"{name} is wrong: traces are sent as {_PROTOCOL} only")
    return True


class Traces:
    """The spans of this process; `tracer` is ``None`` where nobody wants them."""

    def __init__(self) -> None:
        self.tracer: Tracer | None = None
        self._provider: TracerProvider | None = None

    def start(self, service: str) -> None:
        """Export spans from now on, where the environment asks for it; `service` names them unless it does.

        To be called in the process that serves, before its application is made: the thread that exports does not
        outlive a fork. Raises `SettingsError`.
        """
        if self._provider is None and traces_wanted():
            self._provider = _provider_for(service)
            self.tracer = self._provider.get_tracer("voice")

    async def close(self) -> None:
        """Send what is left; a collector that does not take it delays the stop by 2 s at most."""
        provider, self._provider, self.tracer = self._provider, None, None
        if provider is None:
            return
        loop, sent = asyncio.get_running_loop(), asyncio.Event()

        def shut_down() -> None:
            provider.shutdown()
            loop.call_soon_threadsafe(sent.set)

        # A daemon: a thread of the loop's executor would be waited for when the process ends, however long that takes.
        threading.Thread(target=shut_down, name="voice-traces", daemon=True).start()
        try:
            async with asyncio.timeout(_CLOSE_SECONDS):
                await sent.wait()
        except TimeoutError:
            pass

    def origin(self) -> SpanContext | None:
        """Give the present span, for what is done later in its name; ``None`` where nobody records it."""
        if self.tracer is None:
            return None
        context = trace.get_current_span().get_span_context()
        return context if context.is_valid and context.trace_flags.sampled else None

    @contextmanager
    def batch(self, name: str, origins: Iterable[SpanContext | None] = ()) -> Iterator[None]:
        """Do something for many at once, in a span that links to each of them.

        It is a child of the first too: so the trace of one that went alone is whole, and a sampler that chose any
        of them has chosen this.
        """
        if self.tracer is None:
            yield
            return
        known = list({origin.span_id: origin for origin in origins if origin is not None}.values())
        parent = trace.set_span_in_context(NonRecordingSpan(known[0]), Context()) if known else Context()
        links = [Link(origin) for origin in known[:_MOST_LINKS]]
        with self.tracer.start_as_current_span(name, parent, SpanKind.INTERNAL, links=links):
            yield


def _provider_for(service: str) -> TracerProvider:
    # Not at the top: the SDK and what it needs cost a fifth of a second and 15 MB, which is for those who want it.
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415 - see above
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415 - see above
    from opentelemetry.sdk.trace import SpanLimits, TracerProvider  # noqa: PLC0415 - see above
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415 - see above

    named = "service.name=" in os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "") or os.environ.get("OTEL_SERVICE_NAME")
    attributes = {"service.instance.id": str(uuid.uuid4())}
    if not named:
        attributes["service.name"] = f"voice-{service}"
    most_links = None if "OTEL_SPAN_LINK_COUNT_LIMIT" in os.environ else _MOST_LINKS
    provider = TracerProvider(
        resource=Resource.create(attributes),
        span_limits=SpanLimits(max_links=most_links),
        shutdown_on_exit=False,  # `close` does it, and in time
    )
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider


TRACES = Traces()
