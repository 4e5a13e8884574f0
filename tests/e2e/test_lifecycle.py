"""``voice up`` from its start to its end: what it prints, writes, keeps and leaves behind."""

from __future__ import annotations

import json
import shlex
import signal
import socket
import stat
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest
from e2e_factories import RunningStack, descendants, is_alive, run_voice, start_stack

from voice_local.servers import Server, free_port


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def started() -> Iterator[list[RunningStack]]:
    """The stacks that a test started; ended with it whatever happens."""
    stacks: list[RunningStack] = []
    yield stacks
    for running in stacks:
        if running.process.poll() is None:
            running.process.kill()
            running.process.wait()


def pasted(said: str) -> dict[str, dict[str, int]]:
    """Run the curl line that a stack printed, as a person would."""
    line = next(line.split(maxsplit=1)[1] for line in said.splitlines() if line.startswith("try"))
    output = subprocess.run(shlex.split(line), capture_output=True, check=True, timeout=10).stdout
    answer: dict[str, dict[str, int]] = json.loads(output)
    return answer


def heard(running: RunningStack, token: str) -> bytes:
    """Give the begin of a recording, from where its URL says."""

    def ask(path: str) -> Any:
        request = Request(running.base_url + path, headers={"Authorization": f"Bearer {token}"})
        with urlopen(request, timeout=5) as response:
            return json.load(response)

    conversations = ask("/api/conversations?status=completed")["conversations"]
    call = next(one["id"] for one in conversations if one["recording_available"])
    (url,) = ask(f"/api/voice/recordings/{call}")["recording"]["urls"]
    with urlopen(Request(url, headers={"Range": "bytes=0-99"}), timeout=5) as response:
        start: bytes = response.read()
        return start


def test_the_demo_survives_a_restart_and_nothing_is_left_running(data: Path, started: list[RunningStack]) -> None:
    running = start_stack(data, free_port())
    started.append(running)
    said = running.wait_for("try ")
    assert f"ready {running.base_url}" in said
    first = pasted(said)
    assert first["metrics"]["total_calls"] == 140
    assert heard(running, (data / "demo-token").read_text().strip()).startswith(b"RIFF")
    for secret in ("keys.json", "demo-token", "stack.json"):
        assert stat.S_IMODE((data / secret).stat().st_mode) == 0o600

    everything = descendants(running.process.pid)
    assert len(everything) > 10
    running.process.send_signal(signal.SIGINT)
    running.process.send_signal(signal.SIGINT)
    stopping = time.monotonic()
    assert running.stop(signal.SIGINT) == 0
    assert time.monotonic() - stopping < 20
    assert not (data / "stack.json").exists()
    assert not [pid for pid in everything if is_alive(pid)]

    again = start_stack(data, running.port)
    started.append(again)
    said_again = again.wait_for("try ")
    assert said_again.splitlines()[-3:] == said.splitlines()[-3:], "another token, or another curl line"
    assert pasted(said_again) == first

    everything = descendants(again.process.pid)
    again.process.kill()
    again.process.wait()
    deadline = time.monotonic() + 5
    while [pid for pid in everything if is_alive(pid)]:
        assert time.monotonic() < deadline, "processes outlive a stack that was killed"
        time.sleep(0.05)


def test_a_port_that_is_taken_is_said_in_a_sentence(data: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        ended = run_voice("up", "--port", str(port), "--data-dir", str(data), "--no-demo")
    assert ended.returncode == 1
    assert ended.stderr == f"voice: Port {port} is taken; choose another with --port\n"


def test_a_data_directory_that_cant_be_made_is_said_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    ended = run_voice("up", "--port", str(free_port()), "--data-dir", str(tmp_path / "file" / "data"))
    assert ended.returncode == 1
    assert ended.stderr.startswith(f"voice: The data directory {tmp_path}/file/data can't be written")


@pytest.fixture
def foreign(mongo_server: Server, redis_server: Server) -> dict[str, str]:
    """Stores that somebody else runs."""
    return {
        "VOICE_MONGO_URL": mongo_server.url,
        "VOICE_MONGO_DATABASE": f"test_{time.time_ns()}",
        "VOICE_REDIS_URL": redis_server.url,
    }


def test_a_wrong_setting_stops_the_start_with_a_sentence(data: Path, foreign: dict[str, str]) -> None:
    wrong = {**foreign, "VOICE_CALL_TIMEOUT": "banana"}
    ended = run_voice("up", "--port", str(free_port()), "--data-dir", str(data), environment=wrong)
    assert ended.returncode == 1
    assert "VOICE_CALL_TIMEOUT is wrong" in ended.stderr
    assert not (data / "stack.json").exists()


def test_a_service_that_keeps_dying_ends_the_start_with_a_sentence_and_nothing_is_left_running(
    data: Path, tmp_path: Path, started: list[RunningStack], foreign: dict[str, str]
) -> None:
    broken = tmp_path / "broken" / "voice_recordings"
    broken.mkdir(parents=True)
    (broken / "__init__.py").touch()
    (broken / "__main__.py").write_text("raise RuntimeError('the disk is on fire')")
    running = start_stack(data, free_port(), "--no-demo", environment={**foreign, "PYTHONPATH": str(broken.parent)})
    started.append(running)
    everything: set[int] = set()
    while running.process.poll() is None:
        everything |= descendants(running.process.pid)
        time.sleep(0.05)
    assert running.process.returncode == 1
    assert running.said.read_text().splitlines()[-1] == (
        "voice: recordings did not start (exit code 1): RuntimeError: the disk is on fire "
        f"(see {data / 'logs' / 'recordings.log'})"
    )
    assert len(everything) > 3
    assert [pid for pid in everything if is_alive(pid)] == []
    assert not (data / "stack.json").exists()


def test_stores_that_are_named_are_used_and_none_is_started(
    data: Path, started: list[RunningStack], foreign: dict[str, str]
) -> None:
    running = start_stack(data, free_port(), "--no-demo", environment=foreign)
    started.append(running)
    running.wait_for("ready")
    document = running.described()
    assert (document["mongo_url"], document["redis_url"]) == (foreign["VOICE_MONGO_URL"], foreign["VOICE_REDIS_URL"])
    assert (document["mongod_pid"], document["redis_pid"]) == (None, None)
    with urlopen(f"{running.base_url}/readyz", timeout=5) as response:
        assert response.status == 200
    assert running.stop() == 0
