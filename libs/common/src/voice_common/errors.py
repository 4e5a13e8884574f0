"""The one family of errors that callers are answered with.

Domain code raises these; `voice_common.web.middlewares` renders them as ``{"error": "<one sentence>"}``.
"""

from __future__ import annotations

from collections.abc import Mapping


class VoiceError(Exception):
    """An error a caller is told about: a status, one sentence, and headers that go with it."""

    status = 500
    message = "Internal server error"

    def __init__(self, message: str | None = None, *, headers: Mapping[str, str] | None = None) -> None:
        self.message = message if message is not None else type(self).message
        self.headers = dict(headers or {})
        super().__init__(self.message)


class BadRequest(VoiceError):
    """What the caller sent can't be understood; the sentence names what."""

    status = 400
    message = "Bad request"


class Unauthorized(VoiceError):
    """Nobody known is asking (RFC 9110 §15.5.2)."""

    status = 401
    message = "Missing tenant context"


class Forbidden(VoiceError):
    """Somebody known is asking for what they may not have."""

    status = 403
    message = "Forbidden"


class NotFound(VoiceError):
    """There is no such thing, or none that this caller may see."""

    status = 404
    message = "Not found"


class RequestTimeout(VoiceError):
    """The request's body took too long to arrive."""

    status = 408
    message = "The request took too long to arrive"


class ContentTooLarge(VoiceError):
    """The body is over the limit, counted as its bytes arrive."""

    status = 413
    message = "Request body is too large"


class TooManyRequests(VoiceError):
    """The caller's allowance is used up."""

    status = 429
    message = "Rate limit exceeded"


class BadGateway(VoiceError):
    """A service answered what can't be an answer."""

    status = 502
    message = "Service failed"


class Unavailable(VoiceError):
    """Something this needs is down or full; the caller should try again after `retry_after` seconds."""

    status = 503
    message = "Service unavailable"

    def __init__(self, message: str | None = None, *, retry_after: int = 1) -> None:
        super().__init__(message, headers={"Retry-After": str(retry_after)})


WELL_HEADER = "X-Voice-Well"
"""On a 503 that is of one request and not of the service: the gateway's circuit breaker does not count it."""


class Overasked(Unavailable):
    """This request, or those like it, ask for too much; the service is well."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message)
        self.headers[WELL_HEADER] = "1"


class GatewayTimeout(VoiceError):
    """A service took too long."""

    status = 504
    message = "Service timed out"

    def __init__(self, message: str | None = None, *, retry_after: int = 1) -> None:
        super().__init__(message, headers={"Retry-After": str(retry_after)})


def missing_tenant_context(area: str) -> Unauthorized:
    """Give the 401 of an area (``analytics``, ``recordings``, ``conversations``), as the gateway and services say."""
    return Unauthorized(f"Missing tenant context for {area} request", headers={"WWW-Authenticate": "Bearer"})
