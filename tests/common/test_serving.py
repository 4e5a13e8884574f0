"""A service as a process: gunicorn starts it, SIGTERM ends it, nothing outlives it."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import aiohttp
import pytest

from voice_local.servers import free_port

TESTS = Path(__file__).parent.parent
CODE = (
    "from voice_common.serving import serve; from voice_common.settings import ServiceSettings; "
    "serve('sample', 'common_factories:application', ServiceSettings)"
)
Start = Callable[..., tuple[subprocess.Popen[bytes], str]]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start the sample service with settings; gives its process and base URL."""
    running = []

    def run(**settings: str) -> tuple[subprocess.Popen[bytes], str]:
        port = free_port()
        environment = (
            os.environ | {"PYTHONPATH": str(TESTS), "VOICE_PORT": str(port), "TMPDIR": str(tmp_path)} | settings
        )
        process = subprocess.Popen(
            [sys.executable, "-c", CODE], env=environment, stderr=subprocess.PIPE, stdout=subprocess.PIPE
        )
        running.append(process)
        return process, f"http://127.0.0.1:{port}"

    yield run
    for process in running:
        process.kill()
        process.communicate()


async def _answers(session: aiohttp.ClientSession, url: str) -> bool:
    try:
        async with session.get(f"{url}/livez") as answer:
            return answer.status == 200
    except aiohttp.ClientError:
        return False


async def _until(session: aiohttp.ClientSession, url: str, *, answers: bool) -> None:
    deadline = time.monotonic() + 40
    while await _answers(session, url) is not answers:
        assert time.monotonic() < deadline, "the service did not get there in time"
        await asyncio.sleep(0.05)


async def _counted(session: aiohttp.ClientSession, url: str, route: str) -> float:
    """Give how many requests of a route the service's metrics tell of."""
    async with session.get(f"{url}/metrics") as answer:
        text = await answer.text()
    counted = re.findall(rf'voice_http_requests_total\{{[^}}]*route="{route}"[^}}]*\}} (\S+)', text)
    return sum(map(float, counted))


async def test_sigterm_ends_a_service_when_requests_in_flight_are_answered(start: Start, tmp_path: Path) -> None:
    process, url = start(VOICE_WORKERS="2")
    async with aiohttp.ClientSession() as session:
        await _until(session, url, answers=True)

        async def ask(path: str) -> int:
            async with session.get(url + path) as answer:
                return answer.status

        assert await asyncio.gather(*(ask("/fast") for _ in range(20))) == [200] * 20
        async with asyncio.timeout(20):
            while await _counted(session, url, "/fast") != 20:  # noqa: ASYNC110 - of both workers, a little later
                await asyncio.sleep(0.05)

        begun = tmp_path.with_suffix(".begun")
        slow = asyncio.create_task(ask(f"/slow?begun={begun}"))
        async with asyncio.timeout(20):
            while not begun.exists():  # noqa: ASYNC110 - the event is in another process
                await asyncio.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        assert await slow == 200
    assert await asyncio.to_thread(process.wait, 15) == 0
    assert os.listdir(tmp_path) == []  # noqa: PTH208 - the metrics' directory is gone


async def test_a_killed_service_takes_its_workers_with_it(start: Start) -> None:
    process, url = start()
    async with aiohttp.ClientSession() as session:
        await _until(session, url, answers=True)
        process.kill()
        await _until(session, url, answers=False)


def test_a_wrong_setting_stops_the_start_with_a_sentence(start: Start) -> None:
    process, _ = start(VOICE_WORKERS="many")
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 2
    lines = errors.decode().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("voice-sample: VOICE_WORKERS is wrong: ")
