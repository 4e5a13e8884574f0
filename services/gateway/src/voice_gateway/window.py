"""The sliding window of the rate limits: as a script that Redis runs, and in this process for when it can't."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

WINDOW_SECONDS = 60

READ_CLOCK = "local clock = redis.call('TIME')"

SCRIPT = (
    READ_CLOCK
    + """
local now = clock[1] * 1000000 + clock[2]
local limit = tonumber(ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now - 60000000))
local count = redis.call('ZCARD', KEYS[1])
local refreshed = KEYS[2] and redis.call('GET', KEYS[2]) or false
if count < limit then
  redis.call('ZADD', KEYS[1], string.format('%.0f', now), string.format('%.0f:%d', now, count))
  redis.call('PEXPIRE', KEYS[1], 60001)
  return {1, limit - count - 1, 60000000, 0, refreshed}
end
local newest = redis.call('ZRANGE', KEYS[1], -1, -1, 'WITHSCORES')
local frees = redis.call('ZRANGE', KEYS[1], count - limit, count - limit, 'WITHSCORES')
return {0, 0, newest[2] + 60000000 - now, frees[2] + 60000000 - now, refreshed}
"""
)
"""One request of a window: ``KEYS`` the window's sorted set, and optionally a key whose value comes back with it.

Gives ``{allowed, remaining, µs until a full allowance is back, µs until one is free, value}``. The window is
``(t - 60 s, t]`` by Redis' clock, in whole microseconds. Two requests in one microsecond differ by the count. A
refused request writes nothing.
"""


@dataclass(slots=True)  # not frozen: one is made for each request, and freezing doubles the price
class Decision:
    """What a window says of one request; times in seconds from now."""

    allowed: bool
    remaining: int
    full_in: float
    free_in: float
    refreshed: int = 0
    """When an answer of this tenant was last replaced by demand, in µs since the epoch (§4 of the contract)."""


class LocalWindows:
    """Sliding windows of this process alone; at most `size` of them are kept."""

    def __init__(self, *, size: int = 20_000, clock: Callable[[], float] = time.monotonic) -> None:
        self._size = size
        self._clock = clock
        self._windows: dict[str, deque[float]] = {}

    def check(self, key: str, limit: int) -> Decision:
        """Count one request of `key`, or refuse it."""
        now = self._clock()
        window = self._windows.pop(key, None) or deque()
        self._windows[key] = window
        if len(self._windows) > self._size:
            del self._windows[next(iter(self._windows))]
        while window and window[0] <= now - WINDOW_SECONDS:
            window.popleft()
        if len(window) < limit:
            window.append(now)
            return Decision(allowed=True, remaining=limit - len(window), full_in=WINDOW_SECONDS, free_in=0)
        frees = window[len(window) - limit]
        return Decision(
            allowed=False,
            remaining=0,
            full_in=window[-1] + WINDOW_SECONDS - now,
            free_in=frees + WINDOW_SECONDS - now,
        )
