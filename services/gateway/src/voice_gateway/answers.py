"""A cached answer: a body, when it was computed, and its encoded forms with their entity tags."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import re
import time
from collections.abc import Iterable
from functools import lru_cache

import brotli  # type: ignore[import-untyped]

_ETAG = re.compile(r'(?:W/)?"([\x21\x23-\x7e\x80-\xff]*)"')
_LARGE = 64 * 1024
_STAMP = 16
_OVERHEAD = 512


def now_us() -> int:
    """Give this machine's clock in microseconds since the epoch."""
    return time.time_ns() // 1000


class Form:
    """One representation of an answer: its bytes, its coding and its strong entity tag."""

    __slots__ = ("body", "coding", "etag")

    def __init__(self, body: bytes, coding: str | None, etag: str) -> None:
        self.body = body
        self.coding = coding
        self.etag = etag


class Answer:
    """A 200 of analytics: JSON as bytes, and when it was asked for (µs since the epoch)."""

    __slots__ = ("_forms", "_tag", "body", "checked_us", "computed_us")

    def __init__(self, body: bytes, computed_us: int) -> None:
        self.body = body
        self.computed_us = computed_us
        self.checked_us = computed_us
        """Up to when it is known that no newer answer replaced this one by demand."""
        self._tag = hashlib.sha256(body).hexdigest()[:32]
        self._forms: dict[str | None, Form] = {None: Form(body, None, f'"{self._tag}"')}

    @property
    def size(self) -> int:
        """Bytes that it takes."""
        return _OVERHEAD + sum(len(form.body) for form in self._forms.values())

    def age(self, now: int) -> int:
        """Give whole seconds since it was asked for."""
        return max(0, now - self.computed_us) // 1_000_000

    def form(self, coding: str | None) -> Form | None:
        """Give a form that is there already."""
        return self._forms.get(coding)

    async def encode(self, coding: str) -> Form:
        """Make the form of a coding, or give the plain one where encoding saves nothing."""
        if len(self.body) > _LARGE:
            encoded = await asyncio.to_thread(_encoded, self.body, coding)
        else:
            encoded = _encoded(self.body, coding)
        plain = self._forms[None]
        form = Form(encoded, coding, f'"{self._tag}-{coding}"') if len(encoded) < len(self.body) else plain
        self._forms[coding] = form
        return form

    def to_bytes(self) -> bytes:
        """Give the form that Redis holds: 16 digits of `computed_us`, then the body."""
        return b"%016d" % self.computed_us + self.body

    @classmethod
    def from_bytes(cls, raw: bytes) -> Answer:
        """Read what `to_bytes` made."""
        return cls(raw[_STAMP:], int(raw[:_STAMP]))


def _encoded(body: bytes, coding: str) -> bytes:
    if coding == "br":
        return bytes(brotli.compress(body, quality=5))
    return gzip.compress(body, 6, mtime=0)


@lru_cache(maxsize=1024)
def choose_coding(accept_encoding: str) -> str | None:
    """Choose ``br``, ``gzip`` or none by ``Accept-Encoding`` (RFC 9110 §12.5.3)."""
    weights: dict[str, float] = {}
    for part in accept_encoding.lower().split(","):
        name, _, parameter = part.partition(";")
        weight = parameter.strip().removeprefix("q=") if parameter.strip().startswith("q=") else "1"
        try:
            weights[name.strip()] = float(weight)
        except ValueError:
            weights[name.strip()] = 0.0
    rest = weights.get("*", 0.0)
    br, gz = weights.get("br", rest), weights.get("gzip", weights.get("x-gzip", rest))
    if max(br, gz) <= 0 or max(br, gz) < weights.get("identity", 0.0):
        return None
    return "br" if br >= gz else "gzip"


def none_match(headers: Iterable[str], etag: str) -> bool:
    """Tell whether ``If-None-Match`` names `etag` (RFC 9110 §13.1.2): lists, weak forms, ``*``."""
    wanted = etag.strip('"')
    value = ", ".join(headers).strip()
    if value == "*":
        return True
    position = 0
    while position < len(value):
        matched = _ETAG.match(value, position)
        if matched is None:
            following = value.find(",", position)  # a malformed tag matches nothing; those after it may
            if following < 0:
                return False
            position = following + 1
        elif matched[1] == wanted:
            return True
        else:
            position = matched.end()
        while position < len(value) and value[position] in ", \t":
            position += 1
    return False
