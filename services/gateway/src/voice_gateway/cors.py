"""Cross-origin requests of browsers, from the origins that the settings name and no other."""

from __future__ import annotations

from collections.abc import Iterable

import aiohttp_cors
from aiohttp import hdrs, web

EXPOSED = (
    "X-RateLimit-Limit",
    "X-RateLimit-Remaining",
    "X-RateLimit-Reset",
    "RateLimit",
    "RateLimit-Policy",
    "Retry-After",
    "ETag",
    "Age",
    "X-Cache",
    "X-Request-ID",
    "WWW-Authenticate",
    "Accept-Ranges",
    "Content-Range",
    "Content-Disposition",
)
"""What scripts may read beside what browsers show them anyway."""

_ALLOWED = (
    "Authorization",
    "Cache-Control",
    "Content-Type",
    "If-None-Match",
    "X-Request-ID",
    "traceparent",
    "tracestate",
)


def allow_origins(app: web.Application, resources: Iterable[web.AbstractResource], origins: Iterable[str]) -> None:
    """Let browsers on `origins` read `resources`. Bearer tokens need no credentials mode, so there is none."""
    options = aiohttp_cors.ResourceOptions(  # type: ignore[no-untyped-call]
        allow_credentials=False, expose_headers=EXPOSED, allow_headers=_ALLOWED, max_age=600
    )
    cors = aiohttp_cors.setup(app, defaults=dict.fromkeys(origins, options))
    for resource in resources:
        cors.add(resource)
        for route in list(resource):
            cors.add(route)


def admit(response: web.StreamResponse, origin: str) -> None:
    """Let a browser on `origin` read an answer that no route's own CORS has let it read."""
    if hdrs.ACCESS_CONTROL_ALLOW_ORIGIN not in response.headers:
        response.headers[hdrs.ACCESS_CONTROL_ALLOW_ORIGIN] = origin
        response.headers[hdrs.ACCESS_CONTROL_EXPOSE_HEADERS] = ",".join(EXPOSED)
