"""The real system behind the gateway: stores, services, a tenant with calls, and recorded answers of the services."""

from __future__ import annotations

import base64
import random
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import orjson
import uvloop
from nacl.signing import SigningKey

from benchmarks.calls import CONNECTION, call_bodies, request_of
from benchmarks.gateway.pinned import Running, ask, running
from benchmarks.gateway.replay import ANSWERS
from voice_common.identity import IDENTITY_HEADER, Identity, IdentitySigner, new_key_pair
from voice_common.mongo import connect
from voice_common.store.tenants import AreaName, Claim, ClaimKind, Tenant, TenantStore
from voice_gateway.areas import SCOPES
from voice_gateway.tokens import TokenStore
from voice_local.servers import free_port, start_mongod, start_redis

TENANT = "bench"
CALLS = 10
LIMIT = 100_000_000
"""Requests in 60 s: so many that none is refused, and each is counted all the same."""

READY = b"GET /readyz HTTP/1.1\r\nHost: voice\r\n\r\n"
CLIENT_HEADERS = {"Accept": "*/*", "Accept-Encoding": "gzip, deflate", "User-Agent": "bench/1.0"}
"""What clients commonly send."""


@dataclass(frozen=True, slots=True)
class System:
    """What stands behind the gateway: ports, its settings, and what can be asked of it.

    `overview` and `conversation` are request targets; the port `replay` answers both as the real services did.
    """

    settings: Mapping[str, str]
    token: str
    overview: str
    conversation: str
    replay: int


def get(target: str, **headers: str) -> bytes:
    """Make a GET as a client sends it."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    lines = "".join(f"{name}: {value}\r\n" for name, value in {**CLIENT_HEADERS, **named}.items())
    return f"GET {target} HTTP/1.1\r\nHost: voice.example\r\n{lines}\r\n".encode()


@contextmanager
def system(folder: Path, core: int, cores: set[int]) -> Iterator[System]:
    """Start it on `cores`, where this process runs too, and leave `core` free; everything ends with the block."""
    key = SigningKey.generate()
    private, public = new_key_pair()
    signer = IdentitySigner(private)
    with ExitStack() as stores, ExitStack() as services, ExitStack() as recorded_from:
        mongod = start_mongod(folder / "mongo" / "db", cache_gb=0.5)
        stores.callback(mongod.stop)
        redis = start_redis(folder / "redis")
        stores.callback(redis.stop)
        token = uvloop.run(_make_tenant(mongod.url))
        settings = {
            "VOICE_MONGO_URL": mongod.url,
            "VOICE_IDENTITY_PUBLIC_KEYS": public,
            "VOICE_TELNYX_PUBLIC_KEYS": base64.b64encode(bytes(key.verify_key)).decode(),
            "VOICE_LOG_LEVEL": "warning",
        }

        def service(name: str, cores: set[int]) -> AbstractContextManager[Running]:
            port = free_port()
            environment = {**settings, "VOICE_PORT": str(port)}
            command = [sys.executable, "-m", f"voice_{name}"]
            return running(command, port, cores=cores, log=folder / f"{name}.log", environment=environment, probe=READY)

        webhooks = recorded_from.enter_context(service("webhooks", {core}))
        recordings = recorded_from.enter_context(service("recordings", {core, *cores}))
        analytics = services.enter_context(service("analytics", cores))
        for one in (webhooks, recordings, analytics):
            one.until_ready()
        _send_calls(webhooks.port, key, signer)
        today = datetime.now(UTC).date()
        overview = f"/api/voice/analytics/overview?start_date={today - timedelta(days=30)}&end_date={today}"
        conversation = f"/api/conversations/s-{TENANT}-0"

        def recorded(port: int, target: str, name: str) -> bytes:
            identity = signer.sign(Identity(TENANT, frozenset(SCOPES), "bench"), name)
            return ask(port, get(target, **{IDENTITY_HEADER: identity}))

        _until(lambda: _counted(recorded(analytics.port, overview, "analytics")) == CALLS)
        answers = [
            recorded(analytics.port, overview, "analytics"),
            recorded(recordings.port, conversation, "recordings"),
        ]
        for name, answer in zip(ANSWERS.values(), answers, strict=True):
            assert answer.startswith(b"HTTP/1.1 200 "), answer
            (folder / name).write_bytes(answer)
        recorded_from.close()
        replay = free_port()
        command = [sys.executable, "-m", "benchmarks.gateway.replay", str(replay), str(folder)]
        log = folder / "replay.log"
        upstream = running(command, replay, cores=cores, log=log, environment={}, probe=get(conversation))
        services.enter_context(upstream).until_ready()
        gateway = {
            "VOICE_MONGO_URL": mongod.url,
            "VOICE_REDIS_URL": redis.url,
            "VOICE_IDENTITY_PRIVATE_KEY": private,
            "VOICE_ANALYTICS_URL": f"http://127.0.0.1:{analytics.port}",
            "VOICE_RECORDINGS_URL": f"http://127.0.0.1:{replay}",
            "VOICE_LOG_LEVEL": "warning",
        }
        yield System(gateway, token, overview, conversation, replay)


async def _make_tenant(mongo_url: str) -> str:
    client = connect(mongo_url, timeout_seconds=5)
    tenants = TenantStore(client["voice"])
    await tenants.create_indexes()
    limits = dict.fromkeys(AreaName, LIMIT)
    await tenants.create(Tenant(TENANT, "Bench", limits, claims=(Claim(ClaimKind.CONNECTION, CONNECTION),)))
    token, _ = await TokenStore(client["voice"]).issue(TENANT, name="bench", scopes=SCOPES, expires_at=None)
    await client.close()
    return token


def _send_calls(port: int, key: SigningKey, signer: IdentitySigner) -> None:
    rng = random.Random(1)  # noqa: S311 - a text, no secret
    identity = signer.sign(Identity(None, frozenset(), "bench"), "webhooks")
    for number in range(CALLS):
        for body in call_bodies(f"{TENANT}-{number}", rng):
            answer = ask(port, request_of(body, key, identity))
            assert answer.startswith(b"HTTP/1.1 200 "), answer


def _counted(answer: bytes) -> int:
    return int(orjson.loads(answer.partition(b"\r\n\r\n")[2])["metrics"]["completed_calls"])


def _until(condition: Callable[[], bool], seconds: float = 15.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the calls did not show in time"
        time.sleep(0.05)
