"""A unit of the stack keeps its program running, takes its whole group with it, and says why it can't start."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from e2e_factories import is_alive, until

from voice_local import unit as unit_module
from voice_local.children import Child, spawn
from voice_local.process import free_port
from voice_local.unit import Program, StartError, Unit

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
