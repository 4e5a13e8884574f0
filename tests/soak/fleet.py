"""The system under test as processes: every one kept alive, every connection between two of them through a link."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import pymongo
from pymongo.errors import PyMongoError

from soak.links import Link
from soak.schedule import SERVICES, links
from voice_local.children import Nursery, spawn
from voice_local.datadir import DataDir
from voice_local.servers import mongod_command, mongod_serves, redis_command, redis_serves
from voice_local.unit import Program, Unit

WORKERS = 2
_CACHE_GB = 0.25
_INTERNAL = ("webhooks", "analytics", "recordings")


class Fleet:
    """MongoDB (`nodes` 1 or 3), Redis, the four services and the analytics worker, with what they write in `folder`."""

    def __init__(self, folder: Path, nodes: int) -> None:
        self.nodes = [f"mongod-{place}" for place in range(nodes)] if nodes > 1 else ["mongod"]
        self.folder = folder
        self.directory = DataDir(folder)
        for below in (self.directory.path, self.directory.logs, self.directory.scratch):
            below.mkdir(parents=True, exist_ok=True)
        self.keys = self.directory.keys()
        self.ports = self.directory.ports([*self.nodes, "redis", *SERVICES, "metrics", *links(nodes)])
        self.links: dict[str, Link] = {
            name: Link(self.ports[name], self.ports[name.partition(">")[2]]) for name in links(nodes)
        }
        self.units: dict[str, Unit] = {}
        self._nursery = Nursery(self.directory.logs / "nursery.log")
        self._held = AsyncExitStack()

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.ports['gateway']}"

    @property
    def mongo_url(self) -> str:
        """The URL of the store for the tests themselves."""
        if len(self.nodes) == 1:
            return f"mongodb://127.0.0.1:{self.ports['mongod']}/?directConnection=true"
        return self._mongo_url("")

    async def start(self) -> None:
        """Start everything; return when all serve."""
        session = await self._held.enter_async_context(aiohttp.ClientSession())
        for link in self.links.values():
            await link.open()
        await asyncio.gather(*(self._keep(self._mongod(name)) for name in self.nodes), self._keep(self._redis()))
        if len(self.nodes) > 1:
            await asyncio.to_thread(self._initiate)
        await asyncio.gather(*(self._keep(self._service(name, session)) for name in SERVICES))

    async def stop(self) -> None:
        """Stop everything, whatever state it is in."""
        for link in self.links.values():
            await link.heal()
        for name in [name for name in ("gateway", *SERVICES) if name in self.units]:
            if name in self.units:
                await self.units.pop(name).stop(5)
        await self._nursery.stop()
        await asyncio.gather(*(unit.stop(3) for unit in self.units.values()))
        for link in self.links.values():
            await link.close()
        await self._held.aclose()

    async def until_serving(self, *names: str, seconds: float = 60.0) -> None:
        """Wait until programs serve (all of them where none is named); raise `TimeoutError`."""
        async with asyncio.timeout(seconds):
            for name in names or tuple(self.units):
                while not await self.units[name].program.serves():  # noqa: ASYNC110 - another process changes
                    await asyncio.sleep(0.05)

    def node(self, role: str) -> str:
        """Give the name of the primary, or of a secondary; of any node where nobody can tell."""
        hello = {name: _hello(self.ports[name]) for name in self.nodes}
        wanted = "isWritablePrimary" if role == "primary" else "secondary"
        return next((name for name in self.nodes if hello[name].get(wanted)), self.nodes[-1])

    def step_down(self, node: str) -> None:
        """Have a primary give up its office."""
        try:
            with _client(self.ports[node]) as client:
                client.admin.command("replSetStepDown", 10, secondaryCatchUpPeriodSecs=2)
        except PyMongoError:
            return  # it is not primary any more, or nobody could follow it: neither is a fault of the system

    async def _keep(self, program: Program) -> None:
        unit = self.units[program.name] = Unit(program, lambda: None)
        await unit.start()

    def _mongod(self, name: str) -> Program:
        data, port = self.folder / name, self.ports[name]
        data.mkdir(exist_ok=True)
        serves = mongod_serves if len(self.nodes) == 1 else _is_up
        return self._store(name, mongod_command(data, port, cache_gb=_CACHE_GB), serves)

    def _redis(self) -> Program:
        data = self.folder / "redis"
        data.mkdir(exist_ok=True)
        return self._store("redis", redis_command(data, self.ports["redis"]), redis_serves)

    def _store(self, name: str, command: list[str], answers: Callable[[int], bool]) -> Program:
        async def serves() -> bool:
            return await asyncio.to_thread(answers, self.ports[name])

        log = self.directory.logs / f"{name}.log"
        return Program(name, lambda: spawn(command, log), log, self.ports[name], serves)

    def _service(self, name: str, session: aiohttp.ClientSession) -> Program:
        log, port = self.directory.logs / f"{name}.log", self.ports[name]
        environment = {key: value for key, value in os.environ.items() if not key.startswith("VOICE_")}
        environment |= {
            "VOICE_HOST": "127.0.0.1",
            "VOICE_PORT": str(port),
            "VOICE_WORKERS": str(WORKERS if name in {"gateway", "webhooks"} else 1),
            "VOICE_DRAIN_SECONDS": "4",
            "VOICE_LOG_LEVEL": "warning",
            "VOICE_MONGO_URL": self._mongo_url(name),
            "VOICE_IDENTITY_PUBLIC_KEYS": self.keys.identity_public,
            "TMPDIR": str(self.directory.scratch),
        }
        if name == "webhooks":
            environment["VOICE_TELNYX_PUBLIC_KEYS"] = self.keys.telnyx_public
        if name == "gateway":
            environment |= {
                **{f"VOICE_{each.upper()}_URL": self._through(f"gateway>{each}", "http") for each in _INTERNAL},
                "VOICE_REDIS_URL": self._through("gateway>redis", "redis") + "/0",
                "VOICE_METRICS_PORT": str(self.ports["metrics"]),
                "VOICE_GATEWAY_PROCESSES": str(WORKERS),
                "VOICE_IDENTITY_PRIVATE_KEY": self.keys.identity,
            }
        url = f"http://127.0.0.1:{port}/readyz"
        fork = f"voice-{name}"
        return Program(name, lambda: self._nursery.fork(fork, environment, log), log, port, _answers(session, url))

    def _through(self, link: str, scheme: str) -> str:
        return f"{scheme}://127.0.0.1:{self.links[link].port}"

    def _mongo_url(self, service: str) -> str:
        if len(self.nodes) == 1:
            return f"{self._through(f'{service}>mongod', 'mongodb')}/?directConnection=true"
        hosts = ",".join(f"127.0.0.1:{self.links[f'all>{node}'].port}" for node in self.nodes)
        return f"mongodb://{hosts}/?replicaSet=rs0"

    def _initiate(self) -> None:
        """Make one replica set of the nodes; they speak with each other through their links too."""
        members = [
            {"_id": place, "host": f"127.0.0.1:{self.links[f'all>{node}'].port}"}
            for place, node in enumerate(self.nodes)
        ]
        settings = {"electionTimeoutMillis": 3000, "heartbeatIntervalMillis": 500}
        # In a thread of its own: the links between the nodes are served by the loop meanwhile.
        with _client(self.ports[self.nodes[0]]) as client:
            client.admin.command("replSetInitiate", {"_id": "rs0", "members": members, "settings": settings})
        with pymongo.MongoClient[dict[str, Any]](self._mongo_url(""), serverSelectionTimeoutMS=40_000) as client:
            client.admin.command("ping")


def _answers(session: aiohttp.ClientSession, url: str) -> Callable[[], Awaitable[bool]]:
    async def answers() -> bool:
        try:
            async with session.get(url, timeout=aiohttp.ClientTimeout(total=2)) as response:
                return response.status == 200
        except (aiohttp.ClientError, TimeoutError):
            return False

    return answers


def _client(port: int) -> pymongo.MongoClient[dict[str, Any]]:
    url = f"mongodb://127.0.0.1:{port}/?directConnection=true"
    return pymongo.MongoClient(url, serverSelectionTimeoutMS=1000, socketTimeoutMS=15_000)


def _hello(port: int) -> dict[str, Any]:
    try:
        with _client(port) as client:
            return client.admin.command("hello")
    except PyMongoError:
        return {}


def _is_up(port: int) -> bool:
    """Tell whether a node is a member in office, or waits to be made one."""
    hello = _hello(port)
    return bool(hello) and (bool(hello.get("isWritablePrimary") or hello.get("secondary")) or not hello.get("setName"))
