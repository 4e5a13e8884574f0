"""What webhooks' bodies take of a gateway's memory is what is counted of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from chaos_factories import Running, all_running
from gateway_factories import PRIVATE_KEY

from voice_local.servers import Server, free_port

MIB = 1024 * 1024
COUNT = 60


@pytest.fixture
async def silent_port() -> AsyncIterator[int]:
    """A service that takes connections, reads nothing and never answers."""
    taken: list[asyncio.StreamWriter] = []

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        reader._transport.pause_reading()  # type: ignore[attr-defined]
        taken.append(writer)

    server = await asyncio.start_server(take, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    for writer in taken:
        writer.transport.abort()
    server.close()


def highest_mib(pid: int) -> float:
    """Give the most memory that a process ever held."""
    return int(Path(f"/proc/{pid}/status").read_text().partition("VmHWM:")[2].split()[0]) / 1024


async def test_a_gateway_holds_each_webhooks_body_once(
    mongo_server: Server, redis_server: Server, silent_port: int, tmp_path: Path
) -> None:
    settings = {
        "VOICE_MONGO_URL": mongo_server.url,
        "VOICE_REDIS_URL": redis_server.url,
        "VOICE_WEBHOOKS_URL": f"http://127.0.0.1:{silent_port}",
        "VOICE_IDENTITY_PRIVATE_KEY": PRIVATE_KEY,
        "VOICE_METRICS_PORT": str(free_port()),
    }
    gateway = Running("voice_gateway", settings, tmp_path / "log")
    async with all_running(gateway), aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        before = highest_mib(gateway.worker)

        async def send() -> int:
            body = aiohttp.BytesPayload(b"x" * MIB)
            async with session.post(f"{gateway.url}/api/webhooks/telnyx/voice", data=body) as answer:
                return answer.status

        assert set(await asyncio.gather(*(send() for _ in range(COUNT)))) <= {503, 408}
        assert highest_mib(gateway.worker) - before < 1.5 * COUNT
