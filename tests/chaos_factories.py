"""Real service processes, and a client that turns to another gateway where a connection fails."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from voice_local.servers import free_port


@dataclass
class Running:
    """One service as a process, on a port that stays its own; what it says goes to `log`."""

    module: str
    settings: Mapping[str, str]
    log: Path
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def worker(self) -> int:
        """The pid of its one worker."""
        assert self.process is not None
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        assert len(children) == 1
        return int(children[0])

    async def start(self) -> None:
        """Start it; return once it is ready."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("VOICE_")}
        environment |= {"VOICE_PORT": str(self.port), "VOICE_LOG_LEVEL": "warning", **self.settings}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", self.module], env=environment, start_new_session=True, stderr=log
            )
        await self._ready()

    async def _ready(self, seconds: float = 40.0) -> None:
        deadline = time.monotonic() + seconds
        async with aiohttp.ClientSession() as session:
            while True:
                try:
                    async with session.get(f"{self.url}/readyz") as response:
                        if response.status == 200:
                            return
                except aiohttp.ClientError:
                    pass
                assert self.process is not None
                assert self.process.poll() is None, self.log.read_text()[-2000:]
                assert time.monotonic() < deadline, f"{self.module} did not become ready"
                await asyncio.sleep(0.02)

    async def stop(self) -> None:
        """Send SIGTERM and wait for the end."""
        process, self.process = self.process, None
        if process is None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            await asyncio.to_thread(process.wait, 20)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        assert process.returncode == 0, self.log.read_text()[-2000:]


@asynccontextmanager
async def all_running(*services: Running) -> AsyncIterator[None]:
    """Start services at once; stop them one after the other, the last first."""
    try:
        await asyncio.gather(*(service.start() for service in services))
        yield
    finally:
        for service in reversed(services):
            await service.stop()


@dataclass
class Reply:
    """What a client got, and how long it took in seconds."""

    path: str
    status: int
    at: float
    took: float


class Balancer:
    """A client of gateways (URLs), as a load balancer is one: it turns to the next where a connection fails."""

    def __init__(self, session: aiohttp.ClientSession, gateways: Sequence[str]) -> None:
        self._session = session
        self._turns = itertools.cycle(gateways)
        self.replies: list[Reply] = []
        self.failed_connections = 0

    async def get(self, path: str, token: str | None = None, **headers: str) -> int:
        """Give the status of the first answer; whatever it is, it is not asked for again."""
        sent = headers if token is None else headers | {"Authorization": f"Bearer {token}"}
        started = time.monotonic()
        for _ in range(200):
            try:
                async with self._session.get(next(self._turns) + path, headers=sent) as response:
                    await response.read()
            except (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError):
                self.failed_connections += 1
                await asyncio.sleep(0.02)
                continue
            self.replies.append(Reply(path, response.status, started, time.monotonic() - started))
            return response.status
        raise AssertionError("no gateway could be reached")

    async def post(self, path: str, body: bytes, headers: Mapping[str, str]) -> int | None:
        """Deliver once, as Telnyx does; give the status, or ``None`` where there was no answer."""
        try:
            async with self._session.post(next(self._turns) + path, data=body, headers=headers) as response:
                return response.status
        except (aiohttp.ClientError, TimeoutError):
            return None
