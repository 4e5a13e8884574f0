"""A unit of the stack keeps its program running, takes its whole group with it, and says why it can't start."""

from __future__ import annotations

import asyncio
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest
from e2e_factories import is_alive, until

from voice_local import unit as unit_module
from voice_local import waiting
from voice_local.children import Child, spawn
from voice_local.process import free_port
from voice_local.unit import Program, StartError, Unit
from voice_local.waiting import waiting_for

MASTER = """
import os, sys, time
worker = os.fork()
if worker:
    open(sys.argv[1], "a").write(f"{os.getpid()} {worker}\\n")
while True:
    time.sleep(1)
"""

NOTE = "import os, sys, time; open(sys.argv[1], 'a').write(f'{os.getpid()} {os.getpid()}\\n')"


def program(tmp_path: Path, source: str, *, serves: Callable[[], bool] = lambda: True) -> Program:
    log = tmp_path / "unit.log"
    pids = tmp_path / "pids"

    async def start() -> Child:
        return await spawn([sys.executable, "-c", source, str(pids)], log)

    async def answers() -> bool:
        return serves()

    return Program("tried", start, log, free_port(), answers)


@asynccontextmanager
async def running(unit: Unit) -> AsyncIterator[Unit]:
    try:
        await unit.start()
        yield unit
    finally:
        await unit.stop(5)


def pids_of(tmp_path: Path) -> list[list[int]]:
    file = tmp_path / "pids"
    lines = file.read_text().splitlines() if file.exists() else []
    return [[int(pid) for pid in line.split()] for line in lines]


async def test_a_killed_master_takes_its_workers_with_it_and_is_started_again(tmp_path: Path) -> None:
    changes: list[int | None] = []
    unit = Unit(program(tmp_path, MASTER, serves=lambda: bool(pids_of(tmp_path))), lambda: changes.append(unit.pid))
    async with running(unit):
        (first,) = pids_of(tmp_path)
        os.kill(first[0], signal.SIGKILL)

        async def again() -> bool:
            return len(pids_of(tmp_path)) == 2

        await until(again, seconds=5)
        second = pids_of(tmp_path)[1]
        await until(_gone(first), seconds=1)
        assert changes == [first[0], second[0]]
    await until(_gone([*first, *second]), seconds=1)


def _gone(pids: list[int]) -> Callable[[], asyncio.Future[bool]]:
    async def gone() -> bool:
        return not [pid for pid in pids if is_alive(pid)]

    return lambda: asyncio.ensure_future(gone())


async def test_a_program_that_refuses_its_settings_is_tried_once_and_its_sentence_passed_on(tmp_path: Path) -> None:
    source = f"{NOTE}; sys.stderr.write('VOICE_X is wrong'); sys.exit(2)"
    unit = Unit(program(tmp_path, source, serves=lambda: False), lambda: None)
    with pytest.raises(StartError, match="tried did not start: VOICE_X is wrong"):
        await unit.start()
    await unit.stop(1)
    assert len(pids_of(tmp_path)) == 1


async def test_a_program_that_dies_three_times_before_it_serves_is_given_up_with_its_last_words(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = f'{NOTE}; print(\'{{"event": "no such table", "level": "error"}}\'); sys.exit(3)'
    tried = program(tmp_path, source, serves=lambda: False)
    unit = Unit(tried, lambda: None)
    begun = time.monotonic()
    with pytest.raises(StartError) as error:
        await unit.start()
    await unit.stop(1)
    assert str(error.value) == f"tried did not start (exit code 3): no such table (see {tried.log})"
    assert time.monotonic() - begun < 10
    assert len(pids_of(tmp_path)) == 3
    assert capsys.readouterr().err.count("voice: tried ended (exit code 3) and is started again\n") == 2


async def test_a_program_that_can_not_be_run_at_all_is_given_up_with_a_sentence(tmp_path: Path) -> None:
    async def start() -> Child:
        raise ChildProcessError

    tried = replace(program(tmp_path, ""), spawn=start)
    unit = Unit(tried, lambda: None)
    with pytest.raises(StartError, match=r"tried did not start \(exit code 1\): it said nothing"):
        await unit.start()
    await unit.stop(1)


async def test_a_program_that_never_serves_is_given_up_in_time_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unit_module, "_START_SECONDS", 1.0)
    source = MASTER.replace("while True", "print('still warming up', flush=True)\nwhile True")
    tried = program(tmp_path, source, serves=lambda: False)
    unit = Unit(tried, lambda: None)
    with pytest.raises(StartError) as error:
        await unit.start()
    assert str(error.value) == f"tried is not ready after 1 seconds: still warming up (see {tried.log})"
    await unit.stop(1)
    await until(_gone([pid for pids in pids_of(tmp_path) for pid in pids]), seconds=1)


async def test_a_long_wait_is_told_line_by_line_where_no_terminal_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(waiting, "_FIRST_SECONDS", 0.05)
    monkeypatch.setattr(waiting, "_EVERY_SECONDS", 0.02)
    names = ["gateway, recordings", "recordings"]
    said = ""

    async def told() -> bool:
        nonlocal said
        said += capsys.readouterr().err
        return said.count("\n") >= 3

    async with waiting_for(lambda: names.pop(0) if len(names) > 1 else names[0]):
        await until(told)
    lines = said.splitlines()
    assert lines[:3] == ["voice: waiting for gateway, recordings (0 s)"] + ["voice: waiting for recordings (0 s)"] * 2


async def test_a_terminal_sees_what_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = pty.openpty()
    os.set_blocking(ours, False)
    seen = b""

    async def told() -> bool:
        nonlocal seen
        with suppress(BlockingIOError):
            seen += os.read(ours, 4096)
        return b"waiting for recordings (0 s)" in seen

    with os.fdopen(theirs, "w") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        monkeypatch.setenv("TERM", "xterm")
        async with waiting_for(lambda: "recordings"):
            await until(told, seconds=5)
    os.close(ours)


async def test_a_program_that_keeps_dying_is_started_ever_more_slowly(tmp_path: Path) -> None:
    alive = tmp_path / "alive"
    alive.touch()
    source = f"{NOTE}\nwhile os.path.exists({str(alive)!r}): time.sleep(0.02)"
    tried = program(tmp_path, source, serves=lambda: alive.exists() and bool(pids_of(tmp_path)))
    async with running(Unit(tried, lambda: None)):
        alive.unlink()
        begun = time.monotonic()

        async def thrice() -> bool:
            return len(pids_of(tmp_path)) == 4

        await until(thrice, seconds=10)
        # At once after it had served; then after 0.5 and 1 second.
        assert time.monotonic() - begun > 1.4


async def test_a_program_that_ignores_the_end_is_killed_in_time(tmp_path: Path) -> None:
    source = f"import signal; signal.signal(15, signal.SIG_IGN)\n{NOTE}; time.sleep(60)"
    unit = Unit(program(tmp_path, source, serves=lambda: bool(pids_of(tmp_path))), lambda: None)
    await unit.start()
    begun = time.monotonic()
    await unit.stop(0.3)
    assert time.monotonic() - begun < 2


async def test_a_log_that_is_very_long_begins_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unit_module, "_LARGEST_LOG", 10)
    unit = Unit(program(tmp_path, MASTER), lambda: None)
    unit.program.log.write_text("a long line\n")
    unit.bound_log()
    assert unit.program.log.read_text() == ""
    assert unit.program.log.with_suffix(".log.old").read_text() == "a long line\n"


def test_processes_that_ask_at_once_get_different_ports(tmp_path: Path) -> None:
    few = "from voice_local import process; process._PORTS = range(20_000, 20_400)"
    ask = f"{few}; print(*[process.free_port() for _ in range(60)])"
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    asking = [
        subprocess.Popen([sys.executable, "-c", ask], env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    ports = [port for one in asking for port in one.communicate()[0].split()]
    assert len(ports) == len(set(ports)) == 240
    (tmp_path / f"voice-ports-{os.getuid()}").write_text("damaged")
    assert subprocess.run([sys.executable, "-c", ask], env=environment, check=False).returncode == 0
