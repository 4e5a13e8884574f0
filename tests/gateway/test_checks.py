from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from gateway_factories import Gateway
from voice_command import Voice

from voice_common.identity import new_key_pair
from voice_common.mongo import Database
from voice_gateway.checks import INDEXES
from voice_local.servers import Server, start_redis


@pytest.fixture
def voice(mongo_server: Server, redis_server: Server, database: Database) -> Voice:
    return Voice(
        {
            "VOICE_MONGO_URL": mongo_server.url,
            "VOICE_MONGO_DATABASE": database.name,
            "VOICE_REDIS_URL": redis_server.url,
            "VOICE_IDENTITY_PRIVATE_KEY": new_key_pair()[0],
        }
    )


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[Server]:
    server = start_redis(tmp_path / "redis")
    yield server
    server.stop()


async def found(voice: Voice, *, exit_code: int = 1) -> dict[str, tuple[str, str]]:
    document = await voice.json("doctor", "--service", "gateway", exit_code=exit_code)
    return {each["check"]: (each["outcome"], each["message"]) for each in document["findings"]}


async def test_a_gateway_that_runs_has_nothing_to_complain_of(
    gateway: Gateway, voice: Voice, database: Database
) -> None:
    assert gateway
    # The gateway makes its index beside its start.
    deadline = time.monotonic() + 10
    while "by_tenant" not in await database["api_tokens"].index_information():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)
    checks = await found(voice, exit_code=0)
    assert {checks[name][0] for name in ("settings of gateway", "indexes of gateway", "Redis", "Redis clock")} == {"ok"}
    assert checks["Redis eviction"] == ("ok", "nothing is evicted (noeviction); the cache keeps to its own share")
    made = await database["api_tokens"].index_information()
    assert set(made) - {"_id_"} == set(INDEXES["api_tokens"])


async def test_a_policy_that_evicts_rate_limits_fails(voice: Voice, own_redis: Server) -> None:
    voice.environment["VOICE_REDIS_URL"] = own_redis.url
    with redis.Redis.from_url(own_redis.url) as client:
        client.config_set("maxmemory-policy", "volatile-lru")
        outcome, message = (await found(voice))["Redis eviction"]
        assert (outcome, "as long as maxmemory is 0" in message) == ("warning", True)
        client.config_set("maxmemory", "100mb")
        outcome, message = (await found(voice))["Redis eviction"]
        assert (outcome, message.partition(",")[0]) == ("failed", "maxmemory-policy is volatile-lru")


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("redis://user:secret@127.0.0.1:1/0", "Redis does not answer, or refuses us (ConnectionError)"),
        ("http://user:secret@127.0.0.1:1/0", "VOICE_REDIS_URL is no Redis URL"),
    ],
)
async def test_a_redis_that_can_not_be_used_is_said_without_its_password(voice: Voice, url: str, sentence: str) -> None:
    voice.environment["VOICE_REDIS_URL"] = url
    result = await voice("doctor", "--json")
    assert "secret" not in result.output
    outcome, message = (await found(voice))["Redis"]
    assert outcome == "failed"
    assert message.startswith(sentence)
