"""Child processes as the stack keeps them: spawned from a binary, or forked by the nursery."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from voice_local.process import bound_to_parent

_KILLED = -9


class Child(Protocol):
    """A process that was started: the leader of a group of its own."""

    pid: int

    async def wait(self) -> int:
        """Give its exit code, or minus the signal that ended it, when it has ended."""


async def spawn(command: Sequence[str], log: Path) -> Child:
    """Start a binary with this process's environment; it dies with this process."""
    with log.open("ab") as output:
        return await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            preexec_fn=bound_to_parent(),
        )


class Nursery:
    """The process that forks services; started at its first use, and again should it end."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None
        self._born: dict[str, asyncio.Future[int]] = {}
        self._alive: dict[int, asyncio.Future[int]] = {}
        self._starting = asyncio.Lock()

    async def start(self) -> None:
        """Start it where it does not run; it imports by itself what its children will need."""
        async with self._starting:
            if self._process is not None and self._process.returncode is None:
                return
            with self._log.open("ab") as output:
                self._process = await asyncio.create_subprocess_exec(
                    sys.executable,
                    "-m",
                    "voice_local.nursery",
                    stdin=asyncio.subprocess.PIPE,
                    stdout=asyncio.subprocess.PIPE,
                    stderr=output,
                    start_new_session=True,
                    preexec_fn=bound_to_parent(),
                )
            self._reader = asyncio.create_task(self._read(self._process))

    async def fork(self, name: str, environment: Mapping[str, str], log: Path) -> Child:
        """Fork a console script with an environment of its own; raise `ChildProcessError` where the nursery ends."""
        await self.start()
        loop = asyncio.get_running_loop()
        born = self._born[name] = loop.create_future()
        order = {"name": name, "environment": dict(environment), "log": str(log)}
        assert self._process is not None  # noqa: S101 - `start` has seen to it
        assert self._process.stdin is not None  # noqa: S101 - it was asked for as a pipe
        self._process.stdin.write(json.dumps(order).encode() + b"\n")
        pid = await born
        return _Forked(pid, self._alive[pid])

    async def stop(self) -> None:
        """End it; what it forked must have ended before."""
        if self._process is None or self._reader is None:
            return
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            async with asyncio.timeout(2):
                await self._process.wait()
        except TimeoutError:
            with suppress(ProcessLookupError):
                self._process.kill()
        await self._reader

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None  # noqa: S101 - it was asked for as a pipe
        async for line in process.stdout:
            report = json.loads(line)
            if "name" in report:
                self._alive[report["pid"]] = asyncio.get_running_loop().create_future()
                if not (born := self._born.pop(report["name"])).done():  # nobody may be waiting any more
                    born.set_result(report["pid"])
            else:
                self._alive.pop(report["pid"]).set_result(report["code"])
        # Its children end with it: the kernel sees to that.
        await process.wait()
        for ended in self._alive.values():
            ended.set_result(_KILLED)
        for unborn in (born for born in self._born.values() if not born.done()):
            unborn.set_exception(ChildProcessError("the nursery ended"))
        self._alive.clear()
        self._born.clear()


class _Forked:
    def __init__(self, pid: int, ended: asyncio.Future[int]) -> None:
        self.pid = pid
        self._ended = ended

    async def wait(self) -> int:
        return await asyncio.shield(self._ended)
