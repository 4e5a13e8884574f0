"""The programs of a stack: the stores, the four services and the analytics worker, each with what it is told."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from importlib.metadata import entry_points

import aiohttp

from voice_local.binaries import MissingBinaryError
from voice_local.children import Nursery, spawn
from voice_local.datadir import DataDir, Keys
from voice_local.servers import mongod_command, mongod_serves, redis_command, redis_serves
from voice_local.storage import STORAGE, origin
from voice_local.store_users import ADMIN, StoreUsers
from voice_local.unit import Program

INTERNAL = ("webhooks", "recordings", "analytics")
"""The services that only the gateway calls."""

PORT_NAMES = ("mongod", "redis", *INTERNAL, "analytics-worker", "gateway-metrics", STORAGE)

# Half of the 20 seconds that a stop may take, for the two rounds of services that drain one after the other.
_DRAIN_SECONDS = "4"
_PRIVATE = frozenset({"VOICE_IDENTITY_PRIVATE_KEY", "VOICE_IDENTITY_PUBLIC_KEYS", "PROMETHEUS_MULTIPROC_DIR"})


@dataclass(frozen=True, slots=True)
class Plan:
    """What a stack is made of: where it lives, its ports, keys and stores, and the public port."""

    directory: DataDir
    keys: Keys
    ports: Mapping[str, int]
    port: int
    workers: int
    mongo_url: str
    redis_url: str
    users: StoreUsers | None = None
    """Set where the stack's own MongoDB authenticates."""

    def store_url(self, program: str) -> str:
        """Give the URL by which a program comes to MongoDB."""
        return self.mongo_url if self.users is None else self.users.url(self.ports["mongod"], program)

    def url(self, name: str) -> str:
        """Give the URL of a service, or of the gateway's internal port as ``gateway-metrics``."""
        return f"http://127.0.0.1:{self.port_of(name)}"

    def port_of(self, name: str) -> int:
        """Give the port of a program; the gateway's is the public one."""
        return self.port if name == "gateway" else self.ports[name]


def mongod_program(directory: DataDir, port: int, users: StoreUsers | None) -> Program:
    """Give the program of the stack's own MongoDB; raise `MissingBinaryError`."""
    data = directory.path / "mongo"
    data.mkdir(exist_ok=True)
    command = mongod_command(data, port, authenticates=users is not None)
    password = None if users is None else users.passwords[ADMIN]
    return _store(directory, "mongod", command, port, partial(mongod_serves, password=password))


def redis_program(directory: DataDir, port: int) -> Program:
    """Give the program of the stack's own Redis; raise `MissingBinaryError`."""
    data = directory.path / "redis"
    data.mkdir(exist_ok=True)
    return _store(directory, "redis", redis_command(data, port), port, redis_serves)


def service_programs(plan: Plan, nursery: Nursery, session: aiohttp.ClientSession) -> list[Program]:
    """Give the programs of the services and the analytics worker; raise `MissingBinaryError`."""
    told = {
        "gateway": {
            **{f"VOICE_{name.upper()}_URL": plan.url(name) for name in INTERNAL},
            "VOICE_REDIS_URL": plan.redis_url,
            "VOICE_METRICS_PORT": str(plan.ports["gateway-metrics"]),
            "VOICE_GATEWAY_PROCESSES": str(plan.workers),
            "VOICE_IDENTITY_PRIVATE_KEY": plan.keys.identity,
            "VOICE_CONSOLE_MEDIA_ORIGINS": _beside_the_users("CONSOLE_MEDIA_ORIGINS", origin(plan.ports[STORAGE])),
        },
        "webhooks": {"VOICE_TELNYX_PUBLIC_KEYS": _beside_the_users("TELNYX_PUBLIC_KEYS", plan.keys.telnyx_public)},
    }
    return [
        _service(plan, nursery, session, name, told.get(name, {}))
        for name in (*INTERNAL, "analytics-worker", "gateway")
    ]


def _service(
    plan: Plan, nursery: Nursery, session: aiohttp.ClientSession, name: str, told: Mapping[str, str]
) -> Program:
    script, log, port = f"voice-{name}", plan.directory.logs / f"{name}.log", plan.port_of(name)
    if not entry_points(group="console_scripts", name=script):
        raise MissingBinaryError(f"{script} is not installed for {sys.executable}; install it with: make setup")
    environment = _environment(plan, VOICE_PORT=str(port), VOICE_MONGO_URL=plan.store_url(name), **told)
    return Program(
        name,
        lambda: nursery.fork(script, environment, log),
        log,
        port,
        _answers(session, f"{plan.url(name)}/readyz"),
    )


def _store(directory: DataDir, name: str, command: list[str], port: int, serves: Callable[[int], bool]) -> Program:
    async def answers() -> bool:
        return await asyncio.to_thread(serves, port)

    log = directory.logs / f"{name}.log"
    return Program(name, lambda: spawn(command, log), log, port, answers)


def _environment(plan: Plan, **told: str) -> dict[str, str]:
    """Give the user's own settings, with what the stack decides in their place; no private key but what is told."""
    inherited = {name: value for name, value in os.environ.items() if name not in _PRIVATE}
    return {
        **inherited,
        "VOICE_HOST": "127.0.0.1",
        "VOICE_WORKERS": str(plan.workers),
        "VOICE_DRAIN_SECONDS": _DRAIN_SECONDS,
        "VOICE_IDENTITY_PUBLIC_KEYS": plan.keys.identity_public,
        "TMPDIR": str(plan.directory.scratch),
        **told,
    }


def _beside_the_users(setting: str, ours: str) -> str:
    """Add a word to what the user's own setting lists."""
    return ",".join(filter(None, [os.environ.get(f"VOICE_{setting}", ""), ours]))


def _answers(session: aiohttp.ClientSession, url: str) -> Callable[[], Awaitable[bool]]:
    async def answers() -> bool:
        try:
            async with session.get(url, timeout=aiohttp.ClientTimeout(total=2)) as response:
                return response.status == 200  # noqa: PLR2004 - OK
        except (aiohttp.ClientError, TimeoutError):
            return False

    return answers
