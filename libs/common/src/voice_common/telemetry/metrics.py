"""Metrics in Prometheus' text format, summed over a service's worker processes.

Labels are bounded sets: never a tenant, a path or an id.
"""

from __future__ import annotations

import os

from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from voice_common.telemetry.tally import TALLY

CONTENT_TYPE = CONTENT_TYPE_LATEST

HTTP_REQUESTS = Counter("voice_http_requests_total", "Requests answered", ["route", "method", "status"])
HTTP_DURATION = Histogram(
    "voice_http_request_duration_seconds",
    "Time from a request's head to the end of its handler",
    ["route", "status"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5),
)


def exposition() -> bytes:
    """Give all metrics as text: of every worker where gunicorn runs several, else of this process."""
    TALLY.flush()
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call] # its constructor has no types
        return generate_latest(registry)
    return generate_latest(REGISTRY)
