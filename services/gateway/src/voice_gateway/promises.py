"""What the gateway adds to every answer of the API, as OpenAPI 3.1 has it: headers, refusals, security."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from voice_common.web.openapi import Json, header
from voice_gateway.areas import AREAS, Area
from voice_gateway.queries import Report
from voice_gateway.window import WINDOW_SECONDS

BEARER = {
    "type": "http",
    "scheme": "bearer",
    "description": "An API token (`vst_…`), or a JWT of an issuer that the operator trusts. Scopes: "
    + ", ".join(f"`{area.scope}`" for area in AREAS)
    + ".",
}
_RATES = ("X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset", "RateLimit-Policy", "RateLimit")

HEADERS: Mapping[str, Json] = {
    "X-Request-ID": header(
        "Names the request in all logs: the client's own `X-Request-ID` where it is 1 to 128 characters of "
        "`A-Za-z0-9._-`, else a new one.",
        "7f3c1d6e0b9a4c55a1e2d3f405162738",
        pattern="^[A-Za-z0-9._-]{1,128}$",
    ),
    "X-RateLimit-Limit": header("Requests admitted in any 60 s.", 60, kind="integer", minimum=1),
    "X-RateLimit-Remaining": header("Requests left now.", 59, kind="integer", minimum=0),
    "X-RateLimit-Reset": header(
        "When a full allowance is back, in Unix seconds.", 1640000000, kind="integer", minimum=0
    ),
    "RateLimit-Policy": header("The limit as the IETF's draft has it.", f'"analytics";q=60;w={WINDOW_SECONDS}'),
    "RateLimit": header("What is left of it, and in how many seconds it is whole again.", '"analytics";r=59;t=60'),
    "Retry-After": header("Seconds after which to try again.", 1, kind="integer", minimum=1),
    "WWW-Authenticate": header('`Bearer`, with `error="invalid_token"` when a token was sent.', "Bearer"),
    "ETag": header(
        "Strong tag of this answer in this coding, for `If-None-Match`.",
        '"4b6f1c0d8a7e4e55b1c2d3e4f5061728"',
        pattern='^"[^"]+"$',
    ),
    "Age": header(
        "Whole seconds since the answer was computed; only out of the cache.",
        12,
        kind="integer",
        always=False,
        minimum=0,
    ),
    "X-Cache": header(
        "`STALE`: analytics is down or slow, and this answer is up to 10 minutes old.",
        "HIT",
        enum=["HIT", "MISS", "STALE"],
    ),
    "Vary": header("What the answer depends on.", "Authorization, Origin, Accept-Encoding"),
    "CDN-Cache-Control": header("No shared cache keeps it.", "no-store", const="no-store"),
    "No-Store": header("Nobody keeps it.", "private, no-store", const="private, no-store"),
}

REPORT_PARAMETERS: Mapping[str, Json] = {
    "IfNoneMatch": {
        "name": "If-None-Match",
        "in": "header",
        "description": "Tags of answers that the client has (their `ETag`); lists, weak forms and `*` count.",
        "schema": {"type": "string"},
    },
    "CacheControl": {
        "name": "Cache-Control",
        "in": "header",
        "description": "`no-cache`: the answer is computed after the request arrived, and never `STALE`. `no-store`: "
        "what only such requests asked for is not kept.",
        "schema": {"type": "string"},
    },
}


def refusals(area: Area | None) -> dict[str, Json]:
    """Give what the gateway answers by itself on a path, by status: a tenant's of `area`, or a webhook's."""
    found = {
        "414": _refusal("The request target is too long.", "The request target is too long"),
        "431": _refusal(
            "A header is too large, all of them are together, or there are too many.",
            "A request header is too large",
            "The request headers are too large",
            "There are too many request headers",
        ),
        "500": _refusal("Something is wrong here; the detail is in the log.", "Internal server error"),
        "503": _refusal(
            "Something that the answer needs is down or full.", "Service unavailable", headers=("Retry-After",)
        ),
    }
    if area is None:
        return found | {
            "408": _refusal(
                "The body took too long to arrive: send the event again.", "The request took too long to arrive"
            )
        }
    return found | {
        "401": _refusal(
            "There is no token, or one that is malformed, unknown, expired or revoked.",
            f"Missing tenant context for {area.name} request",
            headers=("WWW-Authenticate",),
        ),
        "403": _refusal("The token lacks the scope.", f"Token lacks scope {area.scope}", headers=_RATES),
        "429": _refusal(
            f"Over the limit: {area.limit} requests in any {WINDOW_SECONDS} s for a tenant, unless it has a figure of "
            "its own; or 30 failures to authenticate of one address. A refused request uses up nothing.",
            "Rate limit exceeded",
            headers=("Retry-After",),
        ),
        "502": _refusal("The service behind failed.", "Service failed"),
        "504": _refusal("The service behind is too slow.", "Service timed out", headers=("Retry-After",)),
    }


def headers_of(status: str, area: Area | None, report: Report | None) -> dict[str, Json]:
    """Give the headers that an answer of a service has when it leaves the gateway."""
    names = [] if area is None or status == "400" else list(_RATES)  # some 400s come before the authentication
    if report is not None and status in {"200", "304"}:
        fixed = f"public, max-age={report.ttl}"
        names += ["ETag", "Age", "X-Cache", "Vary", "CDN-Cache-Control"]
        return {**_refs(names), "Cache-Control": header("For how long it is fresh.", fixed, const=fixed)}
    return _refs(names)


def not_modified(report: Report, area: Area) -> Json:
    """Give the answer to a client that has a report's answer already."""
    return {
        "description": "The client has this answer: `If-None-Match` names it. There is no body.",
        "headers": every() | headers_of("304", area, report),
    }


def every() -> dict[str, Json]:
    """Give the headers of every answer."""
    return {**_refs(["X-Request-ID"]), "Cache-Control": _ref("No-Store")}


def _refusal(description: str, *sentences: str, headers: tuple[str, ...] = ()) -> Json:
    return {
        "description": description,
        "headers": every() | _refs(headers),
        "content": {
            "application/json": {
                "schema": {"$ref": "#/components/schemas/Error"},
                "examples": {sentence: {"value": {"error": sentence}} for sentence in sentences},
            }
        },
    }


def _refs(names: Iterable[str]) -> dict[str, Json]:
    return {name: _ref(name) for name in names}


def _ref(name: str) -> Json:
    return {"$ref": f"#/components/headers/{name}"}
