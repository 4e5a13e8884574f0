"""A gateway's memory does not grow with the requests that it has answered."""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web
from chaos_factories import Running, all_running
from gateway_factories import CONVERSATIONS, OVERVIEW, PRIVATE_KEY, TIMELINE, make_customers

from voice_common.mongo import Database
from voice_local.servers import Server, free_port

SECONDS = float(os.environ.get("VOICE_SOAK_SECONDS", "1200"))
SEED = int(os.environ.get("VOICE_SOAK_SEED", "7"))
REQUESTS = int(os.environ.get("VOICE_SOAK_REQUESTS", "1000000"))
CONNECTIONS = 16
LARGEST_GROWTH = 1.1


def resident_kib(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0])


@pytest.fixture
async def service() -> AsyncIterator[str]:
    """A service that answers everything with the same JSON."""

    async def answer(_request: web.BaseRequest) -> web.Response:
        return web.json_response({"metrics": {"total_calls": 1, "note": "x" * 600}})

    runner = web.ServerRunner(web.Server(answer))
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    yield f"http://127.0.0.1:{port}"
    await runner.cleanup()


class Load:
    """Requests of all kinds, with tokens by chance; `samples` are what the gateway held after each hundredth."""

    def __init__(self, gateway: Running, tokens: list[str], requests: int, seconds: float) -> None:
        self._gateway = gateway
        self._pid = gateway.worker
        self._tokens = tokens
        self._requests = requests
        self._deadline = time.monotonic() + seconds
        self._chance = random.Random(SEED)  # noqa: S311 - what is sent is no secret
        self.sent = 0
        self.samples: list[tuple[int, int]] = []
        self.statuses: Counter[int] = Counter()

    async def run(self) -> None:
        await asyncio.gather(*(self._connection() for _ in range(CONNECTIONS)))

    def growth(self) -> float:
        """Give what is held at the end as a multiple of what was held after a tenth of the requests.

        A run that its time cut short is measured from the same tenth: until then not every token was seen often.
        """
        assert len(self.samples) >= 20, f"only {self.sent} of {self._requests} requests in time"
        return self.samples[-1][1] / self.samples[9][1]

    async def _connection(self) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._gateway.port)
        while self.sent < self._requests and time.monotonic() < self._deadline:
            self.sent += 1
            if self.sent % (self._requests // 100) == 0:
                self.samples.append((self.sent, resident_kib(self._pid)))
            writer.write(self._request())
            head = await reader.readuntil(b"\r\n\r\n")
            status = int(head[9:12])
            self.statuses[status] += 1
            length = head.lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0]
            if length and status != 304:
                await reader.readexactly(int(length))
        writer.close()

    def _request(self) -> bytes:
        chance = self._chance
        kind, token, more, path = chance.random(), chance.choice(self._tokens), "", OVERVIEW
        if kind < 0.08:
            path = f"{CONVERSATIONS}/c-{chance.getrandbits(64):x}"
        elif kind < 0.12:
            path = f"{TIMELINE}?start_date=20{chance.randrange(10, 40)}-01-{chance.randrange(10, 28)}"
        elif kind < 0.15:
            more = f"Accept-Encoding: gzip\r\nIf-None-Match: *\r\nX-Request-ID: r-{chance.getrandbits(64):x}\r\n"
        elif kind < 0.17:
            token = f"vst_{chance.randrange(self._requests // 500):064x}"  # nobody's
        elif kind < 0.18:
            path = f"/nothing/{chance.getrandbits(64):x}"
        elif kind < 0.19:
            more = "Cache-Control: no-cache\r\n"
        return f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n{more}\r\n".encode()


async def growth_of(
    requests: int, seconds: float, database: Database, gateway: Running, capsys: pytest.CaptureFixture[str]
) -> float:
    """Send `requests`, of a hundredth as many tokens; give how much more the gateway holds than after a tenth."""
    tokens = await make_customers(database, max(requests // 100, 50))
    cache_mb = max(requests // 125_000, 1)  # so that the cache is full after a tenth of the requests
    gateway.settings = {**gateway.settings, "VOICE_CACHE_MEMORY_MB": str(cache_mb)}
    async with all_running(gateway):
        load = Load(gateway, tokens, requests, seconds)
        started = time.monotonic()
        await load.run()
    with capsys.disabled():
        mib = [round(held / 1024, 1) for _, held in load.samples[9::10]]
        print(f"\n{load.sent} requests in {time.monotonic() - started:.0f} s, MiB after each tenth: {mib}")  # noqa: T201 - the figure
    assert not {status for status in load.statuses if status >= 500}, load.statuses
    assert {200, 304, 401, 404, 429} >= set(load.statuses) >= {200, 304, 401, 404}, load.statuses
    return load.growth()


@pytest.fixture
def gateway(service: str, database: Database, mongo_server: Server, redis_server: Server, tmp_path: Path) -> Running:
    settings = {
        "VOICE_MONGO_URL": mongo_server.url,
        "VOICE_MONGO_DATABASE": database.name,
        "VOICE_REDIS_URL": redis_server.url,
        "VOICE_METRICS_PORT": str(free_port()),
        "VOICE_IDENTITY_PRIVATE_KEY": PRIVATE_KEY,
        **{f"VOICE_{name}_URL": service for name in ("ANALYTICS", "RECORDINGS", "WEBHOOKS")},
    }
    return Running("voice_gateway", settings, tmp_path / "gateway.log")


async def test_memory_does_not_grow_with_requests(
    database: Database, gateway: Running, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await growth_of(10_000, 60, database, gateway, capsys) <= LARGEST_GROWTH


@pytest.mark.soak
@pytest.mark.timeout(0)
async def test_memory_does_not_grow_in_a_million_requests(
    database: Database, gateway: Running, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await growth_of(REQUESTS, SECONDS, database, gateway, capsys) <= LARGEST_GROWTH
