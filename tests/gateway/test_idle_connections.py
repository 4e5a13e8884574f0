"""What idle connections cost a gateway process under gunicorn."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from gateway_factories import PRIVATE_KEY, Services, until
from raw_http import all_of, asks, split
from service_process import service_process

from voice_common.mongo import Database
from voice_gateway.connections import allow_files
from voice_local.servers import Server, free_port

SLOW = 0.4
LITTLE = 10_000
"""Bytes that an idle connection may take in a gateway process."""


@asynccontextmanager
async def gateway_process(
    services: Services, mongo_server: Server, redis_server: Server, database: Database, **more: object
) -> AsyncIterator[tuple[int, int]]:
    """Run a gateway under gunicorn, on uvloop as it is in earnest; give its port and its worker's process id."""
    settings = {
        "MONGO_URL": mongo_server.url,
        "MONGO_DATABASE": database.name,
        "REDIS_URL": redis_server.url,
        "METRICS_PORT": free_port(),
        "DRAIN_SECONDS": 1,
        "IDENTITY_PRIVATE_KEY": PRIVATE_KEY,
        **{f"{service.name.upper()}_URL": service.url for service in services.all()},
        **{name.upper(): value for name, value in more.items()},
    }
    environment = {f"VOICE_{name}": str(value) for name, value in settings.items()}
    async with service_process("voice_gateway", environment) as url:
        port = int(url.rpartition(":")[2])
        yield port, worker_on(port)


def worker_on(port: int) -> int:
    """Give the process id of the one worker of the service that was told to listen on `port`."""
    told = f"VOICE_PORT={port}".encode()
    parents = {}
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            if told in (directory / "environ").read_bytes().split(b"\0"):
                parents[int(directory.name)] = int((directory / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:  # it has ended, or is somebody else's
            continue
    (worker,) = [process for process, parent in parents.items() if parent in parents]
    return worker


def resident_bytes(process: int) -> int:
    return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@asynccontextmanager
async def idle(port: int, worker: int, count: int) -> AsyncIterator[tuple[list[socket.socket], float]]:
    """Hold idle connections to a gateway of another process; give them, and the bytes that each takes there."""
    loop = asyncio.get_running_loop()
    before = resident_bytes(worker)
    clients: list[socket.socket] = []
    try:
        for _ in range(count):
            clients.append(client := socket.socket())
            client.setblocking(False)  # noqa: FBT003 - the standard library's
            await loop.sock_connect(client, ("127.0.0.1", port))
        await until(lambda: accepted_on(port) >= count, 60)
        yield clients, (resident_bytes(worker) - before) / count
    finally:
        for client in clients:
            client.close()


def accepted_on(port: int) -> int:
    """Count the connections that a server on this machine's `port` has accepted."""
    return sum(
        fields[1].endswith(f":{port:04X}") and fields[3] == "01" and fields[9] != "0"
        for fields in (line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:])
    )


async def test_under_gunicorn_and_uvloop_clients_are_bounded_and_idle_ones_take_little_memory(
    services: Services, mongo_server: Server, redis_server: Server, database: Database
) -> None:
    bounds = {"slow_client_seconds": SLOW, "connections_per_client": 1000, "request_head_bytes": 20 * 1024}
    async with gateway_process(services, mongo_server, redis_server, database, **bounds) as (port, worker):
        asked = await asyncio.open_connection("127.0.0.1", port)
        assert await asks(*asked) == 200
        async with idle(port, worker, 999) as (clients, taken):
            assert taken < LITTLE
            slow = await asyncio.open_connection("127.0.0.1", port)
            async with asyncio.timeout(5):
                ended_one = await asyncio.get_running_loop().sock_recv(clients[0], 1)
            assert ended_one == b"", "one too many ends the oldest"
            assert await asks(*asked) == 200
            assert await asks(*slow) == 200
            slow[1].write(b"GET /liv")
            assert split(await all_of(slow[0]))[0] == 408
        large = {size: "".join(f"X-{n}: {'a' * size}\r\n" for n in range(4)) for size in (4000, 5200)}
        for head, status in (("X: a\r\n", 200), ("X A: a\r\n", 400), (large[4000], 200), (large[5200], 431)):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(f"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{head}\r\n".encode())
            answer = await all_of(reader)
            assert answer.startswith(f"HTTP/1.1 {status} ".encode())
            assert split(answer)[1]["connection"] == "close"


@pytest.mark.soak
async def test_ten_thousand_idle_connections_take_little_memory_and_nobody_waits_for_them(
    services: Services, mongo_server: Server, redis_server: Server, database: Database
) -> None:
    if allow_files(11_000) < 10_100:
        pytest.skip("the system does not let a process open files for 10,000 connections")
    async with gateway_process(services, mongo_server, redis_server, database, connections_per_client=20_000) as (
        port,
        worker,
    ):
        asked = await asyncio.open_connection("127.0.0.1", port)
        assert await asks(*asked) == 200
        async with idle(port, worker, 10_000) as (_, taken):
            waited = []
            for _ in range(500):
                started = time.perf_counter()
                assert await asks(*asked) == 200
                waited.append(time.perf_counter() - started)
    print(  # noqa: T201 - the figures are wanted
        f"{taken:.0f} bytes for each idle connection, {taken * 10_000 / 1024**2:.0f} MiB for 10,000; beside them "
        f"{sorted(waited)[250] * 1000:.2f} ms for a request, {max(waited) * 1000:.1f} ms at most"
    )
    assert taken < LITTLE
