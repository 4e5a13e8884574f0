"""A real mongod (a single-node replica set) and a real redis-server on loopback: how to start them, when they serve."""

from __future__ import annotations

import signal
import socket
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pymongo
from pymongo.errors import OperationFailure, PyMongoError

from voice_local.binaries import mongod, redis_server
from voice_local.process import bound_to_parent, free_port
from voice_local.store_users import ADMIN, admin_url, key_file, make_admin

__all__ = ["Server", "ServerError", "free_port", "start_mongod", "start_redis"]

_UNAUTHORIZED, _ALREADY_INITIALISED = 13, 23


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


def mongo_url(port: int) -> str:
    """Give the URL of the mongod on a port."""
    return f"mongodb://127.0.0.1:{port}/?replicaSet=rs0"


def redis_url(port: int) -> str:
    """Give the URL of the redis-server on a port."""
    return f"redis://127.0.0.1:{port}/0"


def mongod_command(data: Path, port: int, *, cache_gb: float = 0.5, authenticates: bool = False) -> list[str]:
    """Give the command of a mongod that keeps its data in `data`; raise `MissingBinaryError`.

    Where it `authenticates`, the key that a replica set's members need for it is made beside the data.
    """
    return [
        mongod(), "--dbpath", str(data), "--port", str(port), "--bind_ip", "127.0.0.1", "--replSet", "rs0",
        "--wiredTigerCacheSizeGB", str(cache_gb), "--oplogSize", "256", "--nounixsocket", "--quiet",
        "--setParameter", "diagnosticDataCollectionEnabled=false",
        "--setParameter", "transactionLifetimeLimitSeconds=5",
        *(["--keyFile", str(key_file(data)), "--auth"] if authenticates else []),
    ]  # fmt: skip


def redis_command(data: Path, port: int) -> list[str]:
    """Give the command of a redis-server that holds what it is given until it ends; raise `MissingBinaryError`."""
    return [
        redis_server(), "--port", str(port), "--bind", "127.0.0.1", "--dir", str(data), "--save", "",
        "--appendonly", "no", "--maxmemory-policy", "noeviction",
    ]  # fmt: skip


def mongod_serves(port: int, password: str | None = None) -> bool:
    """Make the mongod on a port a replica set of one where it is none yet; tell whether it is primary.

    Where it authenticates, `password` is that of the user `ADMIN`, who is made with it where nobody is there yet.
    """
    url = f"mongodb://127.0.0.1:{port}/?directConnection=true"
    try:
        with pymongo.MongoClient[dict[str, object]](url, serverSelectionTimeoutMS=100) as client:
            try:
                is_primary = _is_primary(client, port)
            except OperationFailure as error:
                if error.code != _UNAUTHORIZED or password is None:
                    raise
                with pymongo.MongoClient[dict[str, object]](
                    url, username=ADMIN, password=password, serverSelectionTimeoutMS=100
                ) as known:
                    is_primary = _is_primary(known, port)
            if is_primary and password is not None:
                make_admin(client, password)
            return is_primary
    except PyMongoError:
        return False


def _is_primary(client: pymongo.MongoClient[dict[str, object]], port: int) -> bool:
    hello = client.admin.command("hello")
    if hello.get("me") != f"127.0.0.1:{port}":
        _initiate(client, port)
        hello = client.admin.command("hello")
    return bool(hello["isWritablePrimary"])


def redis_serves(port: int) -> bool:
    """Tell whether the redis-server on a port answers."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=0.5) as link:
            link.sendall(b"PING\r\n")
            return link.recv(16).startswith(b"+PONG")
    except OSError:
        return False


def start_mongod(
    data: Path, *, port: int | None = None, cache_gb: float = 0.5, seconds: float = 30.0, password: str | None = None
) -> Server:
    """Start mongod on `data` as the replica set ``rs0`` of one node; return when it is primary.

    With a `password` it authenticates, and its URL is that of the user `ADMIN`, who may do everything.
    """
    data.mkdir(parents=True, exist_ok=True)
    port = port or free_port()
    command = mongod_command(data, port, cache_gb=cache_gb, authenticates=password is not None)
    url = mongo_url(port) if password is None else admin_url(port, password)
    serves = partial(mongod_serves, password=password)
    return _started(Server(url, _spawn(command, data.parent / "mongod.log"), port), serves, data, seconds)


def start_redis(data: Path, *, port: int | None = None, seconds: float = 10.0) -> Server:
    """Start redis-server on `data`; return when it answers. It never evicts what it holds."""
    data.mkdir(parents=True, exist_ok=True)
    port = port or free_port()
    command = redis_command(data, port)
    return _started(
        Server(redis_url(port), _spawn(command, data.parent / "redis.log"), port), redis_serves, data, seconds
    )


def _spawn(command: list[str], log: Path) -> subprocess.Popen[bytes]:
    with log.open("ab") as output:
        return subprocess.Popen(  # noqa: S603 - our own binaries
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            preexec_fn=bound_to_parent(),  # noqa: PLW1509 - a system call and nothing else
        )


def _initiate(client: pymongo.MongoClient[dict[str, object]], port: int) -> None:
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


def _started(server: Server, serves: Callable[[int], bool], data: Path, seconds: float) -> Server:
    deadline = time.monotonic() + seconds
    while not serves(server.port):
        if server.process.poll() is not None:
            raise ServerError(f"The server on {data} ended with {server.process.returncode} while it started")
        if time.monotonic() > deadline:
            server.stop()
            raise ServerError(f"The server on {data} did not become ready in time")
        time.sleep(0.02)
    return server
