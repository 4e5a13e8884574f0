"""The cache's second level: in Redis, shared by all gateways, with a share of its memory that it keeps to.

The limits' keys are never touched: the cache evicts its own entries by its own accounts, oldest first, so Redis
needs no eviction policy.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from enum import Enum, auto
from typing import Any

from voice_gateway.answers import Answer
from voice_gateway.limiter import refreshed_key
from voice_gateway.redis_lane import LaneDownError, RedisLane, pack

_PATIENCE = 0.045
_WAIT = 0.01
"""Seconds that one request waits for Redis here: with the limiter's 40 ms before, Redis costs it at most 50."""
_STALL = 0.005
_TURN_MS = 1000
_LARGEST = 1024 * 1024

_PUT = """
local function forget(key)
  local size = redis.call('HGET', KEYS[3], key)
  if size then
    redis.call('DECRBY', KEYS[4], size)
    redis.call('HDEL', KEYS[3], key)
  end
  redis.call('ZREM', KEYS[2], key)
end
local held = redis.call('GETRANGE', KEYS[1], 0, 15)
if held ~= '' and held > string.sub(ARGV[1], 1, 16) then return 0 end
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
for _, key in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', string.format('%.0f', now), 'LIMIT', 0, 200)) do
  forget(key)
end
forget(KEYS[1])
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
redis.call('HSET', KEYS[3], KEYS[1], ARGV[3])
redis.call('ZADD', KEYS[2], string.format('%.0f', now + tonumber(ARGV[2])), KEYS[1])
local total = redis.call('INCRBY', KEYS[4], ARGV[3])
while total > tonumber(ARGV[4]) do
  local oldest = redis.call('ZRANGE', KEYS[2], 0, 0)[1]
  if not oldest then break end
  redis.call('DEL', oldest)
  forget(oldest)
  total = tonumber(redis.call('GET', KEYS[4]) or '0')
end
return 1
"""
"""Store one answer unless a newer one is held. ``KEYS``: the entry, the index by expiry, sizes, their sum.
``ARGV``: the answer (16 digits of its time first), milliseconds to keep it, its bytes, bytes of the whole share."""

_LOOK = """
local held = redis.call('GET', KEYS[1])
if held and string.sub(held, 1, 16) > ARGV[1] then return {held, 0} end
return {held, redis.call('SET', KEYS[2], ARGV[2], 'NX', 'PX', ARGV[3]) and 1 or 0}
"""
"""Give an answer; where it is not newer than ``ARGV[1]``, take the turn to ask analytics unless another has it."""

_YIELD = "if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end return 1"
"""Give up a turn, if it is still one's own."""

_MARK = """
local held = redis.call('GET', KEYS[1])
if not held or held < ARGV[1] then redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2]) end
return 1
"""
"""Note when an answer of a tenant was last replaced by demand (16 digits)."""

_PREFIX = "voice:cache:{answers}:"
_OVERHEAD = 400


class Turn(Enum):
    """Whose turn it is to ask analytics for an answer: one gateway's at a time."""

    OURS = auto()
    ANOTHERS = auto()
    ANYBODYS = auto()
    """Redis can't be asked: each gateway asks analytics by itself."""


class SharedLevel:
    """Answers by key in Redis; without Redis it holds nothing and says so by ``None``."""

    def __init__(self, redis_url: str, *, max_bytes: int, keep_seconds: int) -> None:
        self._lane = RedisLane(redis_url, "cache", patience=_PATIENCE, scripts=(_PUT, _MARK, _LOOK, _YIELD))
        self._name = secrets.token_bytes(8)
        self._max_bytes = max_bytes
        self._keep_ms = keep_seconds * 1000

    async def run(self) -> None:
        """Stay connected to Redis until cancelled."""
        await self._lane.run()

    async def get(self, key: str) -> Answer | None:
        """Give what is kept, fresh or not."""
        raw = await self._ask(pack(b"GET", _name(key)))
        return None if raw is None else Answer.from_bytes(raw)

    async def look(self, key: str, fresh_after_us: int) -> tuple[Answer | None, Turn]:
        """Give what is kept, and whose turn it is to ask analytics where that is not newer than `fresh_after_us`.

        A turn that is ours lasts a second, or until `pass_turn`.
        """
        arguments = [b"%016d" % fresh_after_us, self._name, b"%d" % _TURN_MS]
        reply = await self._ask(_call(_LOOK, [_name(key), _turn(key)], arguments))
        if reply is None:
            return None, Turn.ANYBODYS
        raw, ours = reply
        return None if raw is None else Answer.from_bytes(raw), Turn.OURS if ours else Turn.ANOTHERS

    def pass_turn(self, key: str) -> None:
        """Let other gateways ask analytics; what was put before is there for them."""
        self._tell(_call(_YIELD, [_turn(key)], [self._name]))

    def put(self, key: str, answer: Answer, age_ms: int) -> None:
        """Keep an answer that is `age_ms` old, unless a newer one is there; nobody waits for it."""
        raw = answer.to_bytes()
        size = len(raw) + _OVERHEAD
        keep_ms = self._keep_ms - age_ms
        if size <= min(_LARGEST, self._max_bytes) and keep_ms > 0:
            self._tell(
                _call(
                    _PUT,
                    [_name(key), _name("index"), _name("sizes"), _name("bytes")],
                    [raw, b"%d" % keep_ms, b"%d" % size, b"%d" % self._max_bytes],
                )
            )

    async def mark_refreshed(self, tenant: str, at_us: int) -> None:
        """Tell all gateways that an answer of `tenant` was replaced by demand at `at_us`.

        What was put before is there when this returns, unless Redis is slow.
        """
        await self._ask(_call(_MARK, [refreshed_key(tenant)], [b"%016d" % at_us, b"%d" % self._keep_ms]))

    def _tell(self, command: bytes) -> asyncio.Future[Any] | None:
        """Send a command whose answer nobody needs to see."""
        try:
            future = self._lane.ask(command)
        except LaneDownError:
            return None
        future.add_done_callback(_see)
        return future

    async def _ask(self, command: bytes) -> Any:  # noqa: ANN401 - whatever Redis answers
        """Ask Redis; ``None`` where it can't be asked, fails, or takes longer than a request may wait."""
        future = self._tell(command)
        if future is None:
            return None
        loop = asyncio.get_running_loop()
        due = loop.time() + _WAIT
        await asyncio.wait((future,), timeout=_WAIT)
        if not future.done() and loop.time() - due > _STALL:
            # This process was stalled, not Redis: the answer may wait in the socket, which is read after timers.
            await asyncio.wait((future,), timeout=_STALL)
        return future.result() if future.done() and future.exception() is None else None


def _see(future: asyncio.Future[Any]) -> None:
    """Mark an error as seen: without Redis this level is empty, and what Redis refuses is not kept."""
    if not future.cancelled():
        future.exception()


def _name(key: str) -> bytes:
    return (_PREFIX + key).encode()


def _turn(key: str) -> bytes:
    return b"voice:turn:{answers}:" + key.encode()


def _call(script: str, keys: list[bytes], arguments: list[bytes]) -> bytes:
    digest = hashlib.sha1(script.encode(), usedforsecurity=False).hexdigest().encode()
    return pack(b"EVALSHA", digest, b"%d" % len(keys), *keys, *arguments)
