"""The gateway's own metrics. Labels are bounded sets: never a tenant, a path or an address."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import Counter, Gauge, Histogram

AUTH_FAILURES = Counter(
    "voice_gateway_auth_failures_total", "Requests whose authentication failed or was refused", ["area", "reason"]
)
LIMIT_DECISIONS = Counter(
    "voice_gateway_limit_decisions_total",
    "Decisions of the rate limits; `source` is redis, known (refused without asking) or local (without Redis)",
    ["area", "outcome", "source"],
)
LIMITER_DEGRADED = Gauge(
    "voice_gateway_limiter_degraded",
    "Processes that limit by themselves because Redis is down or slow",
    multiprocess_mode="livesum",
)
CACHE_RESULTS = Counter("voice_gateway_cache_results_total", "Answers by what the cache did", ["result"])
REDIS_CONNECTIONS = Gauge(
    "voice_gateway_redis_connections",
    "Connections to Redis that can be asked now; each process has one for each purpose",
    ["purpose"],
    multiprocess_mode="livesum",
)
REDIS_SECONDS = Histogram(
    "voice_gateway_redis_command_seconds",
    "Time from sending commands to Redis to the answer of the last of them; what is asked together goes together",
    ["purpose"],
    buckets=(0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25),
)
CACHE_BYTES = Gauge("voice_gateway_cache_bytes", "Bytes in the processes' caches", multiprocess_mode="livesum")
UPSTREAM_ERRORS = Counter(
    "voice_gateway_upstream_errors_total", "Requests to a service that failed", ["upstream", "reason"]
)
UPSTREAM_RETRIES = Counter("voice_gateway_upstream_retries_total", "GETs tried once more", ["upstream"])
BREAKER_OPEN = Gauge(
    "voice_gateway_breaker_open",
    "Processes whose circuit to a service is open",
    ["upstream"],
    multiprocess_mode="livesum",
)
JWKS_REFRESHES = Counter("voice_gateway_jwks_refreshes_total", "Attempts to fetch the JWKS", ["outcome"])
TOKEN_CHANGES = Gauge(
    "voice_gateway_token_changes",
    "Token changes ever made, as counted in the store",
    ["change"],
    multiprocess_mode="mostrecent",
)
CONNECTIONS = Gauge("voice_gateway_connections", "Connections that clients have open", multiprocess_mode="livesum")
CONNECTIONS_ENDED = Counter(
    "voice_gateway_connections_ended_total",
    "Connections that the gateway ended: slow_head, unread_answer, room (for newer ones) and refused",
    ["reason"],
)
MALFORMED_REQUESTS = Counter("voice_gateway_malformed_requests_total", "Requests refused by the HTTP edge", ["status"])


def show_all(areas: Iterable[str], upstreams: Iterable[str], results: Iterable[str], endings: Iterable[str]) -> None:
    """Show what may happen before it does, by the names of areas, services, results of the cache, and endings.

    A rate needs a value to start from, and an operator a line to look at.
    """
    for area in areas:
        for outcome in ("allowed", "refused"):
            LIMIT_DECISIONS.labels(area, outcome, "redis")
        for reason in ("missing", "malformed", "unknown", "expired", "revoked", "scope"):
            AUTH_FAILURES.labels(area, reason)
    for upstream in upstreams:
        for reason in ("full", "down", "slow", "failed"):
            UPSTREAM_ERRORS.labels(upstream, reason)
        UPSTREAM_RETRIES.labels(upstream)
        BREAKER_OPEN.labels(upstream)
    for result in results:
        CACHE_RESULTS.labels(result)
    for status in (400, 408, 414, 431, 503):
        MALFORMED_REQUESTS.labels(status)
    for ending in endings:
        CONNECTIONS_ENDED.labels(ending)
