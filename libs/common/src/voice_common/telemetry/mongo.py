"""What MongoDB costs: the time of each command, the size of the pool and the waits for it; spans where they are on.

Imported where a client is made, and not before: prometheus-client decides at its import where a process keeps its
metrics.
"""

from __future__ import annotations

from collections import OrderedDict
from functools import cache

from opentelemetry import trace
from opentelemetry.trace import Span, SpanKind, StatusCode, Tracer
from opentelemetry.util.types import AttributeValue
from prometheus_client import Counter, Gauge, Histogram
from pymongo.monitoring import (
    CommandFailedEvent,
    CommandListener,
    CommandStartedEvent,
    CommandSucceededEvent,
    ConnectionCheckedInEvent,
    ConnectionCheckedOutEvent,
    ConnectionCheckOutFailedEvent,
    ConnectionCheckOutStartedEvent,
    ConnectionClosedEvent,
    ConnectionCreatedEvent,
    ConnectionPoolListener,
    ConnectionReadyEvent,
    PoolClearedEvent,
    PoolClosedEvent,
    PoolCreatedEvent,
    PoolReadyEvent,
)

from voice_common.telemetry.tally import TALLY
from voice_common.telemetry.traces import TRACES

_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5)
_COMMANDS = frozenset(
    {
        "abortTransaction",
        "aggregate",
        "commitTransaction",
        "createIndexes",
        "delete",
        "distinct",
        "find",
        "findAndModify",
        "getMore",
        "insert",
        "ping",
        "update",
    }
)
_OTHER = "other"
_MOST_OPEN = 1024

COMMAND_SECONDS = Histogram(
    "voice_mongo_command_seconds", "Time of a command to MongoDB", ["command"], buckets=_BUCKETS
)
COMMAND_FAILURES = Counter("voice_mongo_command_failures_total", "Commands to MongoDB that failed", ["command"])
POOL_CONNECTIONS = Gauge(
    "voice_mongo_pool_connections",
    "Connections to MongoDB: all that are open, and those in use",
    ["state"],
    multiprocess_mode="livesum",
)
POOL_WAIT_SECONDS = Histogram(
    "voice_mongo_pool_wait_seconds", "Time that a command waited for a connection", buckets=_BUCKETS
)
POOL_FAILURES = Counter("voice_mongo_pool_failures_total", "Commands that got no connection")


@cache
def _seconds_of(command: str) -> Histogram:
    return COMMAND_SECONDS.labels(command)


@cache
def _failures_of(command: str) -> Counter:
    return COMMAND_FAILURES.labels(command)


class MongoMetrics(CommandListener, ConnectionPoolListener):
    """Measures the clients of one process."""

    def __init__(self) -> None:
        self._open_gauge, self._in_use_gauge = POOL_CONNECTIONS.labels("open"), POOL_CONNECTIONS.labels("in_use")
        self._open = self._in_use = 0
        _failures_of("find")  # so that there is a rate to look at before anything failed

    def started(self, event: CommandStartedEvent) -> None:
        """Nothing: what ends says how long it took."""

    def succeeded(self, event: CommandSucceededEvent) -> None:
        """Measure a command."""
        name = event.command_name
        TALLY.observe(_seconds_of(name if name in _COMMANDS else _OTHER), event.duration_micros / 1e6)

    def failed(self, event: CommandFailedEvent) -> None:
        """Measure and count a command that failed."""
        name = event.command_name if event.command_name in _COMMANDS else _OTHER
        TALLY.observe(_seconds_of(name), event.duration_micros / 1e6)
        TALLY.count(_failures_of(name))

    def connection_created(self, event: ConnectionCreatedEvent) -> None:  # noqa: ARG002 - the listener's signature
        """Count a connection."""
        self._open += 1
        TALLY.level(self._open_gauge, self._open)

    def connection_closed(self, event: ConnectionClosedEvent) -> None:  # noqa: ARG002 - as above
        """Count a connection less."""
        self._open -= 1
        TALLY.level(self._open_gauge, self._open)

    def connection_checked_out(self, event: ConnectionCheckedOutEvent) -> None:
        """Measure the wait for a connection."""
        self._in_use += 1
        TALLY.level(self._in_use_gauge, self._in_use)
        TALLY.observe(POOL_WAIT_SECONDS, event.duration or 0.0)

    def connection_checked_in(self, event: ConnectionCheckedInEvent) -> None:  # noqa: ARG002 - as above
        """Count a connection in use less."""
        self._in_use -= 1
        TALLY.level(self._in_use_gauge, self._in_use)

    def connection_check_out_failed(self, event: ConnectionCheckOutFailedEvent) -> None:  # noqa: ARG002 - as above
        """Count a command that got no connection."""
        TALLY.count(POOL_FAILURES)

    def connection_check_out_started(self, event: ConnectionCheckOutStartedEvent) -> None:
        """Nothing: its end says how long it took."""

    def connection_ready(self, event: ConnectionReadyEvent) -> None:
        """Nothing: it was counted as it was made."""

    def pool_created(self, event: PoolCreatedEvent) -> None:
        """Nothing: there are only its connections to count."""

    def pool_ready(self, event: PoolReadyEvent) -> None:
        """Nothing, as above."""

    def pool_cleared(self, event: PoolClearedEvent) -> None:
        """Nothing, as above."""

    def pool_closed(self, event: PoolClosedEvent) -> None:
        """Nothing, as above."""


class MongoSpans(CommandListener):
    """A client span for each command that is sent within a span; never a command's values.

    What a process does by itself, again and again, has no span around it, and gets none here.
    """

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer
        self._open: OrderedDict[int, Span] = OrderedDict()

    def started(self, event: CommandStartedEvent) -> None:
        """Begin a span."""
        if not trace.get_current_span().get_span_context().is_valid:
            return
        name, address = event.command_name, event.connection_id
        collection = event.command.get("collection" if name == "getMore" else name)
        attributes: dict[str, AttributeValue] = {
            "db.system.name": "mongodb",
            "db.namespace": event.database_name,
            "db.operation.name": name,
            "server.address": address[0],
        }
        if address[1] is not None:
            attributes["server.port"] = address[1]
        if isinstance(collection, str):
            attributes["db.collection.name"] = collection
            name = f"{name} {collection}"
        self._open[event.request_id] = self._tracer.start_span(name, kind=SpanKind.CLIENT, attributes=attributes)
        if len(self._open) > _MOST_OPEN:
            # PyMongo says nothing of a command whose caller was cancelled.
            self._open.popitem(last=False)[1].end()

    def succeeded(self, event: CommandSucceededEvent) -> None:
        """End a span."""
        span = self._open.pop(event.request_id, None)
        if span is not None:
            span.end()

    def failed(self, event: CommandFailedEvent) -> None:
        """End a span, with the error's code."""
        span = self._open.pop(event.request_id, None)
        if span is not None:
            code = str(event.failure.get("code", event.failure.get("errtype", "unknown")))
            span.set_attributes({"db.response.status_code": code, "error.type": code})
            span.set_status(StatusCode.ERROR)
            span.end()


_METRICS = MongoMetrics()


def listeners() -> list[CommandListener | ConnectionPoolListener]:
    """Give what a client of this process tells of its commands and connections."""
    return [_METRICS] if TRACES.tracer is None else [_METRICS, MongoSpans(TRACES.tracer)]
