"""One process of the stack, kept alive: started again when it ends, with its whole group, until it is told to stop."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import click

from voice_local.children import Child
from voice_local.process import kill_group, port_is_free

_POLL = 0.05
_START_SECONDS = 60.0
_START_ATTEMPTS = 3
_LONGEST_BACK_OFF = 10.0
_WRONG_SETTING = 2
_LONGEST_REASON = 300
_LARGEST_LOG = 64 * 1024 * 1024


class StartError(Exception):
    """A process of the stack did not start; the text is one sentence."""


@dataclass(frozen=True, slots=True)
class Program:
    """What a unit runs: `spawn` starts it, `port` is the one it listens on, `serves` tells whether it can be used."""

    name: str
    spawn: Callable[[], Awaitable[Child]]
    log: Path
    port: int
    serves: Callable[[], Awaitable[bool]]


class Unit:
    """Runs a program again and again; `changed` is called whenever its pid is another one."""

    def __init__(self, program: Program, changed: Callable[[], None]) -> None:
        self.program = program
        self.pid: int | None = None
        self._changed = changed
        self._served = asyncio.Event()
        self._child: Child | None = None
        self._keeper: asyncio.Task[None] | None = None

    @property
    def served(self) -> bool:
        """Whether the program could be used at any time since it was started."""
        return self._served.is_set()

    async def start(self) -> None:
        """Start the program and keep it; return when it serves, raise `StartError` where it does not."""
        self._keeper = asyncio.create_task(self._keep())
        served = asyncio.create_task(self._served.wait())
        try:
            done, _ = await asyncio.wait(
                {self._keeper, served}, timeout=_START_SECONDS, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            served.cancel()
        if self._keeper in done:
            await self._keeper
        if not done:
            raise StartError(
                f"{self.program.name} is not ready after {_START_SECONDS:.0f} seconds: {self._last_words()}"
            )

    async def stop(self, seconds: float) -> None:
        """End the process cleanly, or with its whole group at once where `seconds` are not enough."""
        if self._keeper is not None:
            self._keeper.cancel()
            with suppress(asyncio.CancelledError, StartError):
                await self._keeper
        child, self._child = self._child, None
        if child is None:
            return
        with suppress(ProcessLookupError):
            os.kill(child.pid, signal.SIGTERM)
        try:
            async with asyncio.timeout(seconds):
                await child.wait()
        except TimeoutError:
            click.echo(f"voice: {self.program.name} did not stop in {seconds:.0f} seconds and is ended", err=True)
        kill_group(child.pid)
        await child.wait()

    def bound_log(self) -> None:
        """Begin the log anew once it is very long; the part before is kept once."""
        log = self.program.log
        if log.exists() and log.stat().st_size > _LARGEST_LOG:
            shutil.copyfile(log, log.with_suffix(".log.old"))
            os.truncate(log, 0)  # its writers append

    async def _keep(self) -> None:
        failures = 0
        while True:
            code, served = await self._live()
            if not self._served.is_set() and (code == _WRONG_SETTING or failures + 1 >= _START_ATTEMPTS):
                how = "" if code == _WRONG_SETTING else f" ({_why(code)})"
                raise StartError(f"{self.program.name} did not start{how}: {self._last_words()}")
            failures = 0 if served else failures + 1
            click.echo(f"voice: {self.program.name} ended ({_why(code)}) and is started again", err=True)
            if failures:
                await asyncio.sleep(min(0.25 * 2**failures, _LONGEST_BACK_OFF))

    async def _live(self) -> tuple[int, bool]:
        """Run the program once; give its exit code, and whether it ever served."""
        # The workers of a killed master hold its port for the moment that the kernel needs to end them.
        while not port_is_free(self.program.port):  # noqa: ASYNC110 - the kernel tells nobody
            await asyncio.sleep(_POLL)
        try:
            self._child = child = await self.program.spawn()
        except OSError as error:
            click.echo(f"voice: {self.program.name} can't be started: {error}", err=True)
            return 1, False
        self.pid = child.pid
        self._changed()
        watch = asyncio.create_task(self._watch())
        try:
            code = await child.wait()
        finally:
            watch.cancel()
        self._child = None
        kill_group(child.pid)
        return code, watch.done() and not watch.cancelled()

    async def _watch(self) -> None:
        while not await self.program.serves():  # noqa: ASYNC110 - it is another process that changes
            await asyncio.sleep(_POLL)
        self._served.set()

    def _last_words(self) -> str:
        """Give the last line of the program's log, and where that is."""
        log = self.program.log
        lines = log.read_text(errors="replace").strip().splitlines() if log.exists() else []
        said = _text_of(lines[-1]) if lines else "it said nothing"
        return f"{said[:_LONGEST_REASON]} (see {log})"


def _text_of(line: str) -> str:
    """Give what a line of a log says: of structlog's and of mongod's JSON the message alone."""
    try:
        document = json.loads(line)
    except ValueError:
        return line
    told = document if isinstance(document, dict) else {}
    return str(told.get("event") or told.get("msg") or line)


def _why(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"
