"""Rate limits: exact over all replicas by Redis, by each process alone where Redis is down or slow."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from functools import cache
from typing import Any

import structlog
from prometheus_client import Counter
from redis.exceptions import ResponseError

from voice_common.telemetry.tally import TALLY
from voice_gateway.jwt_failures import JwtFailures
from voice_gateway.metrics import LIMIT_DECISIONS, LIMITER_DEGRADED
from voice_gateway.redis_lane import LaneDownError, RedisLane, pack
from voice_gateway.window import SCRIPT, Decision, LocalWindows

_log = structlog.get_logger("voice.gateway.limits")
_PATIENCE = 0.04
_KEPT = 20_000


def window_key(who: str, what: str) -> bytes:
    """Give the key of a window: all windows of a tenant are in one slot of Redis Cluster."""
    return b"voice:limit:{%b}:%b" % (who.encode(), what.encode())


def refreshed_key(tenant: str) -> bytes:
    """Give the key that holds when an answer of `tenant` was last replaced by demand; in the limits' slot."""
    return b"voice:refreshed:{%b}" % tenant.encode()


class Limiter:
    """Counts requests in sliding windows of 60 s, named by who asks and for what."""

    def __init__(self, redis_url: str, *, processes: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._processes = processes
        self._clock = clock
        self._lane = RedisLane(redis_url, "limits", patience=_PATIENCE, scripts=(SCRIPT,), on_change=self._changed)
        self._script = hashlib.sha1(SCRIPT.encode(), usedforsecurity=False).hexdigest().encode()
        self._commands: dict[tuple[str, str, int], bytes] = {}
        self._refused: dict[tuple[str, str, int], tuple[float, float]] = {}
        self._local = LocalWindows(clock=clock)
        self.jwt_failures = JwtFailures(self._lane)
        """Takes note of JWTs that are refused for a claim."""
        LIMITER_DEGRADED.set(1)

    @property
    def is_degraded(self) -> bool:
        """Whether this process limits by itself."""
        return not self._lane.is_up

    async def run(self) -> None:
        """Stay connected to Redis until cancelled."""
        await self._lane.run()

    async def check(self, who: str, what: str, limit: int) -> Decision:
        """Count one request of `who` (a tenant or an address) for `what` (an area), or refuse it.

        Takes at most 50 ms; never raises for the sake of Redis.
        """
        key = (who, what, limit)
        known = self._known_refusal(key)
        if known is not None:
            _count(what, known, "known")
            return known
        asked_at = self._clock()
        try:
            reply = await self._lane.ask(self._command(key))
            decision = _read(reply)
        except (LaneDownError, ResponseError):
            decision = self._local.check(f"{what}:{who}", max(1, limit // self._processes))
            _count(what, decision, "local")
            return decision
        if not decision.allowed:
            # Counted from before the question was sent: the moment is never later than by Redis' clock.
            self._refused[key] = (asked_at + decision.free_in, asked_at + decision.full_in)
            if len(self._refused) > _KEPT:
                del self._refused[next(iter(self._refused))]
        _count(what, decision, "redis")
        return decision

    def _known_refusal(self, key: tuple[str, str, int]) -> Decision | None:
        moments = self._refused.get(key)
        if moments is None:
            return None
        now = self._clock()
        free_at, full_at = moments
        if now >= free_at:
            del self._refused[key]
            return None
        return Decision(allowed=False, remaining=0, full_in=full_at - now, free_in=free_at - now)

    def _command(self, key: tuple[str, str, int]) -> bytes:
        command = self._commands.get(key)
        if command is None:
            who, what, limit = key
            if len(self._commands) >= _KEPT:
                del self._commands[next(iter(self._commands))]
            command = self._commands[key] = pack(
                b"EVALSHA",
                self._script,
                b"2",
                window_key(who, what),
                refreshed_key(who),
                str(limit).encode(),
            )
        return command

    def _changed(self, up: bool) -> None:  # noqa: FBT001 - a callback's one argument
        LIMITER_DEGRADED.set(0 if up else 1)
        if up:
            _log.info("rate limits are exact again")
        else:
            _log.warning("rate limits are degraded", processes=self._processes)


def _read(reply: list[Any]) -> Decision:
    allowed, remaining, full_in, free_in, refreshed = reply
    return Decision(bool(allowed), remaining, full_in / 1e6, free_in / 1e6, int(refreshed or 0))


@cache
def _counter(what: str, allowed: bool, source: str) -> Counter:  # noqa: FBT001 - a key
    return LIMIT_DECISIONS.labels(what, "allowed" if allowed else "refused", source)


def _count(what: str, decision: Decision, source: str) -> None:
    TALLY.count(_counter(what, decision.allowed, source))
