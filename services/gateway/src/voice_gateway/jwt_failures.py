"""The last JWT that was refused for a claim, kept in Redis for a day: never the token, only what was looked for.

A token whose signature is good and that is refused all the same is an issuer that is set up in another way: that is
for an operator, who asks ``voice doctor`` and not the log of each gateway.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any, NamedTuple

import orjson

from voice_common.times import now_ms
from voice_gateway.redis_lane import LaneDownError, RedisLane, pack

KEY = b"voice:jwt:refused"
_KEPT_SECONDS = 86_400
_APART_SECONDS = 10.0


class Refused(NamedTuple):
    """Why a JWT was refused (a word of the metric), the claim that was looked for, and when (ms)."""

    reason: str
    claim: str
    at: int


class JwtFailures:
    """Notes refusals by the lane of the rate limits, one in ten seconds at most; nobody waits for it."""

    def __init__(self, lane: RedisLane) -> None:
        self._lane = lane
        self._noted = float("-inf")

    def note(self, reason: str, claim: str) -> None:
        """Note that a JWT was refused for the sake of `claim`."""
        if time.monotonic() - self._noted < _APART_SECONDS:
            return
        value = orjson.dumps({"reason": reason, "claim": claim, "at": now_ms()})
        try:
            future = self._lane.ask(pack(b"SET", KEY, value, b"EX", b"%d" % _KEPT_SECONDS))
        except LaneDownError:
            return
        self._noted = time.monotonic()
        future.add_done_callback(_see)


def read(value: bytes | str | None) -> Refused | None:
    """Read what is in Redis."""
    return None if value is None else Refused(**orjson.loads(value))


def _see(future: asyncio.Future[Any]) -> None:
    """Mark an error as seen: what Redis refuses is not noted."""
    if not future.cancelled():
        future.exception()
