"""The gateway's own metrics. Labels are bounded sets: never a tenant, a path or an address."""

from __future__ import annotations

from prometheus_client import Counter, Gauge

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
CACHE_BYTES = Gauge("voice_gateway_cache_bytes", "Bytes in the processes' caches", multiprocess_mode="livesum")
UPSTREAM_ERRORS = Counter(
    "voice_gateway_upstream_errors_total", "Requests to a service that failed", ["service", "reason"]
)
UPSTREAM_RETRIES = Counter("voice_gateway_upstream_retries_total", "GETs tried once more", ["service"])
BREAKER_OPEN = Gauge(
    "voice_gateway_breaker_open",
    "Processes whose circuit to a service is open",
    ["service"],
    multiprocess_mode="livesum",
)
JWKS_REFRESHES = Counter("voice_gateway_jwks_refreshes_total", "Attempts to fetch the JWKS", ["outcome"])
TOKEN_CHANGES = Gauge(
    "voice_gateway_token_changes",
    "Token changes ever made, as counted in the store",
    ["change"],
    multiprocess_mode="mostrecent",
)
MALFORMED_REQUESTS = Counter("voice_gateway_malformed_requests_total", "Requests refused by the HTTP edge", ["status"])
