"""Which headers pass the gateway: what belongs to one hop, or is the gateway's to say, does not."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable
from functools import lru_cache

from multidict import CIMultiDictProxy

from voice_common.errors import BadGateway

_HOP_BY_HOP = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
_NOT_SENT = _HOP_BY_HOP | {
    "host",
    "content-length",
    "expect",
    "authorization",
    "cookie",
    "forwarded",
    "x-real-ip",
    "x-request-id",
    "traceparent",
    "tracestate",
}
_NOT_GIVEN = _HOP_BY_HOP | {"date", "server", "x-request-id", "content-length", "set-cookie"}
_OWN_PREFIXES = ("x-voice-", "x_voice_", "x-forwarded-")
_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")

_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_SPAN = (1 << 64) - 1

Pairs = Iterable[tuple[str, str]]


def combined(headers: CIMultiDictProxy[str], name: str) -> str | None:
    """Give the value of a header that is a list, whose lines are one list (RFC 9110 §5.3); ``None`` without any."""
    values = headers.getall(name, None)
    if values is None:
        return None
    return values[0] if len(values) == 1 else ", ".join(values)


def _named(value: str) -> set[str]:
    return {name.strip().lower() for name in value.split(",")}


def to_service(received: Pairs, connection: str | None) -> list[tuple[str, str]]:
    """Give those headers of a request that a service may see; `connection` is its ``Connection``, all lines."""
    kept = [pair for pair in received if _is_sent(pair[0])]
    return kept if connection is None else _without(kept, _named(connection))


def to_client(received: Pairs, connection: str | None) -> list[tuple[str, str]]:
    """Give those headers of a service's answer that the client may see.

    Raises `BadGateway` where one holds a control character, which aiohttp's parser of answers lets in (RFC 9110 §5.5).
    """
    kept = [pair for pair in received if _is_given(pair[0])]
    if not (values := "".join([value for _, value in kept])).isprintable() and _CONTROL.search(values):
        raise BadGateway
    return kept if connection is None else _without(kept, _named(connection))


@lru_cache(maxsize=1024)
def _is_sent(name: str) -> bool:
    lower = name.lower()
    return lower not in _NOT_SENT and not lower.startswith(_OWN_PREFIXES)


@lru_cache(maxsize=1024)
def _is_given(name: str) -> bool:
    lower = name.lower()
    return lower not in _NOT_GIVEN and not lower.startswith(_OWN_PREFIXES)


def _without(pairs: Pairs, names: set[str]) -> list[tuple[str, str]]:
    return [pair for pair in pairs if pair[0].lower() not in names]


def traceparent_of(received: str | None) -> tuple[str, bool]:
    """Give the W3C trace context to send on, and whether it is the client's own."""
    if received is not None and _TRACEPARENT.fullmatch(received):
        return received, True
    ids = random.getrandbits(192)  # unique, no secret; and no system call
    return f"00-{(ids >> 64) | 1:032x}-{(ids & _SPAN) | 1:016x}-00", False
