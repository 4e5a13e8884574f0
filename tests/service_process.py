"""A real service process under gunicorn, on a free loopback port."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import aiohttp

from voice_local.servers import free_port


@asynccontextmanager
async def service_process(module: str, settings: Mapping[str, str]) -> AsyncIterator[str]:
    """Run ``python -m module`` with `settings` in its environment; give its base URL once it is ready."""
    port = free_port()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("VOICE_")}
    environment |= {"VOICE_PORT": str(port), "VOICE_LOG_LEVEL": "warning", **settings}
    process = subprocess.Popen([sys.executable, "-m", module], env=environment, start_new_session=True)
    url = f"http://127.0.0.1:{port}"
    try:
        await _wait_until_ready(url, process)
        yield url
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            await asyncio.to_thread(process.wait, 20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


async def _wait_until_ready(url: str, process: subprocess.Popen[bytes], seconds: float = 40.0) -> None:
    deadline = time.monotonic() + seconds
    async with aiohttp.ClientSession() as session:
        while True:
            try:
                async with session.get(f"{url}/readyz") as response:
                    if response.status == 200:
                        return
            except aiohttp.ClientError:
                pass
            assert process.poll() is None, f"the service ended with {process.returncode}"
            assert time.monotonic() < deadline, "the service did not become ready"
            await asyncio.sleep(0.05)
