"""A real replica set of three mongods on loopback."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pymongo
from pymongo.errors import PyMongoError

from voice_local.binaries import mongod
from voice_local.servers import free_port

_SETTINGS = {"electionTimeoutMillis": 3000, "heartbeatIntervalMillis": 500}
"""A primary that is gone is missed after 3 seconds: what is tested is what the system does then."""


@dataclass
class ReplicaSet:
    """Three mongods; `nodes` are their processes by port."""

    folder: Path
    nodes: dict[int, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"mongodb://{','.join(f'127.0.0.1:{port}' for port in self.nodes)}/?replicaSet=rs0"

    def start(self, port: int) -> None:
        data = self.folder / str(port)
        data.mkdir(exist_ok=True)
        command = [
            mongod(), "--dbpath", str(data), "--port", str(port), "--bind_ip", "127.0.0.1", "--replSet", "rs0",
            "--wiredTigerCacheSizeGB", "0.25", "--oplogSize", "64", "--nounixsocket",
            "--setParameter", "transactionLifetimeLimitSeconds=5",
        ]  # fmt: skip
        with (self.folder / f"{port}.log").open("ab") as log:
            self.nodes[port] = subprocess.Popen(command, stdout=log, stderr=log)

    def primary(self, *, other_than: int | None = None, seconds: float = 40.0) -> int:
        """Wait for a primary; give its port."""
        deadline = time.monotonic() + seconds
        while True:
            for port, process in self.nodes.items():
                if port != other_than and process.poll() is None and _hello(port).get("isWritablePrimary"):
                    return port
            assert time.monotonic() < deadline, "no primary was elected"
            time.sleep(0.05)


@contextmanager
def replica_set(folder: Path) -> Iterator[ReplicaSet]:
    """Run three nodes; give them once one is primary."""
    nodes = ReplicaSet(folder)
    try:
        for _ in range(3):
            nodes.start(free_port())
        members = [{"_id": place, "host": f"127.0.0.1:{port}"} for place, port in enumerate(nodes.nodes)]
        _initiate(next(iter(nodes.nodes)), members)
        nodes.primary()
        yield nodes
    finally:
        for process in nodes.nodes.values():
            process.kill()
            process.wait()


def _initiate(port: int, members: list[dict[str, Any]]) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            with _client(port) as client:
                client.admin.command("replSetInitiate", {"_id": "rs0", "members": members, "settings": _SETTINGS})
        except PyMongoError:
            assert time.monotonic() < deadline, "the replica set was not initiated"
            time.sleep(0.1)
        else:
            return


def _client(port: int) -> pymongo.MongoClient[dict[str, Any]]:
    url = f"mongodb://127.0.0.1:{port}/?directConnection=true"
    return pymongo.MongoClient(url, serverSelectionTimeoutMS=1000, socketTimeoutMS=5000)


def _hello(port: int) -> dict[str, Any]:
    try:
        with _client(port) as client:
            return client.admin.command("hello")
    except PyMongoError:
        return {}


def step_down(port: int) -> None:
    """Have the primary give up its office for ten seconds."""
    with _client(port) as client:
        client.admin.command("replSetStepDown", 10, secondaryCatchUpPeriodSecs=2)
