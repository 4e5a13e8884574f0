"""What ``voice doctor`` looks at for the gateway, and in the Redis that is the gateway's."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError

from voice_common.doctor.clocks import compared
from voice_common.doctor.findings import Check, Finding, Surroundings, failed, ok, warning
from voice_common.doctor.indexes import index_check
from voice_common.doctor.settings import settings_check
from voice_common.times import render_ms
from voice_gateway.jwt_failures import KEY, read
from voice_gateway.settings import GatewaySettings

INDEXES = {"api_tokens": ("by_tenant",)}
_OLDEST = 7
_SECONDS = 3.0


class _NoRedisError(Exception):
    """Redis can't be asked; the text says why, without the URL, which can hold a password."""


async def _redis(surroundings: Surroundings) -> Finding:
    try:
        async with _connected(surroundings) as redis:
            version = str((await redis.info("server"))["redis_version"])
    except _NoRedisError as error:
        return failed(
            f"{error}; until it answers each gateway process limits by itself", "start it, or put VOICE_REDIS_URL right"
        )
    if int(version.partition(".")[0]) < _OLDEST:
        return failed(f"Redis {version} is too old", "upgrade to Redis 7.0 or newer")
    return ok(f"Redis {version} answers")


async def _memory(surroundings: Surroundings) -> Finding:
    try:
        async with _connected(surroundings) as redis:
            memory: dict[str, Any] = await redis.info("memory")
    except _NoRedisError as error:
        return failed(str(error), "see the check of Redis")
    policy, limit = str(memory.get("maxmemory_policy", "unknown")), int(memory.get("maxmemory", 0))
    if policy == "noeviction":
        return ok("nothing is evicted (noeviction); the cache keeps to its own share")
    message = f"maxmemory-policy is {policy}"
    advice = "set maxmemory-policy noeviction: the cache evicts its own entries, and the rate limits' must stay"
    if limit:
        return failed(f"{message}, and rate limits can be evicted, which admits more than they allow", advice)
    return warning(f"{message}; nothing is evicted only as long as maxmemory is 0", advice)


async def _clock(surroundings: Surroundings) -> Finding:
    try:
        async with _connected(surroundings) as redis:

            async def read() -> int:
                seconds, micros = await redis.time()
                return int(seconds) * 1000 + int(micros) // 1000

            await redis.ping()  # connecting takes time that is not the clock's
            return await compared("Redis", read)
    except _NoRedisError as error:
        return failed(str(error), "see the check of Redis")


async def _jwts(surroundings: Surroundings) -> Finding:
    try:
        async with _connected(surroundings) as redis:
            refused = read(await redis.get(KEY))
    except _NoRedisError as error:
        return failed(str(error), "see the check of Redis")
    if refused is None:
        return ok("none was refused for a claim in the last day")
    return warning(
        f"the last one that was refused for a claim, at {render_ms(refused.at)}: {refused.reason}; "
        f"the claim {refused.claim} was looked for",
        "look into such a token: VOICE_JWT_TENANT_CLAIM, VOICE_JWT_SCOPE_CLAIM, VOICE_JWT_SCOPE_PREFIX, "
        "VOICE_JWT_ISSUER and VOICE_JWT_AUDIENCE say what is looked for",
    )


@asynccontextmanager
async def _connected(surroundings: Surroundings) -> AsyncIterator[Redis]:
    """Connect to the local stack's Redis or to that of the settings; raise `_NoRedisError`."""
    default = str(GatewaySettings.model_fields["redis_url"].default)
    stack = surroundings.stack
    url = os.environ.get("VOICE_REDIS_URL") or default if stack is None else str(stack["redis_url"])
    try:
        redis = Redis.from_url(url, socket_timeout=_SECONDS, socket_connect_timeout=_SECONDS, decode_responses=True)
    except ValueError:
        raise _NoRedisError("VOICE_REDIS_URL is no Redis URL") from None
    try:
        yield redis
    except (RedisError, OSError) as error:
        raise _NoRedisError(f"Redis does not answer, or refuses us ({type(error).__name__})") from error
    finally:
        await redis.aclose()


CHECKS = (
    settings_check("gateway", GatewaySettings),
    index_check("gateway", INDEXES),
    Check("Redis", _redis, needs_store=False),
    Check("Redis eviction", _memory, needs_store=False),
    Check("Redis clock", _clock, needs_store=False),
    Check("JWTs", _jwts, needs_store=False),
)
