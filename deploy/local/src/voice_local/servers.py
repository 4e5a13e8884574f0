"""Starts a real mongod (a single-node replica set) and a real redis-server on loopback."""

from __future__ import annotations

import signal
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import pymongo
from pymongo.errors import OperationFailure, PyMongoError

from voice_common.serving import die_with_parent
from voice_local.binaries import mongod, redis_server

_ALREADY_INITIALISED = 23


class ServerError(Exception):
    """A server did not start; the text says why."""


@dataclass(slots=True)
class Server:
    """A running server: its URL and its process."""

    url: str
    process: subprocess.Popen[bytes]
    port: int

    def stop(self, seconds: float = 10.0) -> None:
        """End the server cleanly, or at once where `seconds` are not enough."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(seconds)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self.process.wait()


def free_port() -> int:
    """Give a loopback port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def start_mongod(data: Path, *, port: int | None = None, cache_gb: float = 0.5, seconds: float = 30.0) -> Server:
    """Start mongod on `data` as the replica set ``rs0`` of one node; return when it is primary."""
    data.mkdir(parents=True, exist_ok=True)
    port = port or free_port()
    url = f"mongodb://127.0.0.1:{port}/?replicaSet=rs0"
    server = Server(
        url,
        _spawn(
            [
                mongod(), "--dbpath", str(data), "--port", str(port), "--bind_ip", "127.0.0.1", "--replSet", "rs0",
                "--wiredTigerCacheSizeGB", str(cache_gb), "--setParameter", "diagnosticDataCollectionEnabled=false",
                "--oplogSize", "256", "--nounixsocket",
            ],
            data.parent / "mongod.log",
        ),
        port,
    )  # fmt: skip
    with pymongo.MongoClient(
        f"mongodb://127.0.0.1:{port}/?directConnection=true", serverSelectionTimeoutMS=200
    ) as client:
        deadline = time.monotonic() + seconds
        initiated = False
        while True:
            try:
                if not initiated:
                    initiated = _initiate(client, port)
                if client.admin.command("hello")["isWritablePrimary"]:
                    return server
            except PyMongoError:
                pass
            _give_up_unless_alive("mongod", server, deadline, data.parent / "mongod.log")
            time.sleep(0.02)


def start_redis(data: Path, *, port: int | None = None, seconds: float = 10.0) -> Server:
    """Start redis-server on `data`; return when it answers. It never evicts what it holds."""
    data.mkdir(parents=True, exist_ok=True)
    port = port or free_port()
    server = Server(
        f"redis://127.0.0.1:{port}/0",
        _spawn(
            [
                redis_server(), "--port", str(port), "--bind", "127.0.0.1", "--dir", str(data), "--save", "",
                "--appendonly", "no", "--maxmemory-policy", "noeviction",
            ],
            data.parent / "redis.log",
        ),
        port,
    )  # fmt: skip
    deadline = time.monotonic() + seconds
    while not _redis_answers(port):
        _give_up_unless_alive("redis-server", server, deadline, data.parent / "redis.log")
        time.sleep(0.02)
    return server


def _spawn(command: list[str], log: Path) -> subprocess.Popen[bytes]:
    with log.open("ab") as output:
        return subprocess.Popen(  # noqa: S603 - our own binaries
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            preexec_fn=die_with_parent,  # noqa: PLW1509 - a system call and nothing else
        )


def _initiate(client: pymongo.MongoClient[dict[str, object]], port: int) -> bool:
    member = {"_id": 0, "host": f"127.0.0.1:{port}"}
    try:
        client.admin.command("replSetInitiate", {"_id": "rs0", "members": [member]})
    except OperationFailure as error:
        if error.code != _ALREADY_INITIALISED:
            raise
        config = client.admin.command("replSetGetConfig")["config"]
        if config["members"][0]["host"] != member["host"]:  # the data is from a run on another port
            config["members"][0]["host"] = member["host"]
            config["version"] += 1
            client.admin.command("replSetReconfig", config, force=True)
    return True


def _redis_answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=0.5) as link:
            link.sendall(b"PING\r\n")
            return link.recv(16).startswith(b"+PONG")
    except OSError:
        return False


def _give_up_unless_alive(name: str, server: Server, deadline: float, log: Path) -> None:
    if server.process.poll() is not None:
        message = f"{name} ended with {server.process.returncode} while it started; see {log}"
        raise ServerError(message)
    if time.monotonic() > deadline:
        server.stop()
        message = f"{name} did not become ready in time; see {log}"
        raise ServerError(message)
