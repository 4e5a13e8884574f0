"""Work that goes on beside the requests, for as long as a process runs: no error ends it in silence."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog
from prometheus_client import Counter

from voice_common.cancellation import end
from voice_common.errors import Unavailable
from voice_common.mongo import is_passing
from voice_common.web.health import Health

_FIRST_PAUSE_SECONDS = 0.5
_LONGEST_PAUSE_SECONDS = 5.0
_STEADY_SECONDS = 60.0
"""What went on for so long has recovered: the next failure is a first one again."""
_FAILURES_UNTIL_UNREADY = 3
_FAILURES = Counter(
    "voice_background_failures_total", "Times that background work failed and was begun again", ["task"]
)
_log = structlog.get_logger("voice.background")

Run = Callable[[], Awaitable[object]]


class Background:
    """The background work of one process.

    What fails is logged, counted and begun again, after a pause that grows from half a second to five. With
    `health`, work that is `needed` to serve and has failed three times in a row is named there as what is not ready;
    a store that is away is no such failure, since its own check tells of it.
    """

    def __init__(self, health: Health | None = None) -> None:
        self._health = health
        self._tasks: list[asyncio.Task[None]] = []

    def keep(self, name: str, run: Run, *, needed: bool = False) -> asyncio.Task[None]:
        """Begin work that goes on until it is ended, and again whenever it raises; that it returns is its end."""
        return self._begin(_Work(name, run, None), needed=needed)

    def repeat(
        self, name: str, look: Run, *, every: float, needed: bool = False, after: asyncio.Task[None] | None = None
    ) -> asyncio.Task[None]:
        """Begin work that is done once now (or once `after` is done), and again `every` seconds after it was done."""
        return self._begin(_Work(name, look, every), needed=needed, after=after)

    async def end(self) -> None:
        """End all of it."""
        await end(self._tasks)

    def _begin(self, work: _Work, *, needed: bool, after: asyncio.Task[None] | None = None) -> asyncio.Task[None]:
        _FAILURES.labels(work.name)  # shown as 0 from the start, so that an increase can be told
        if needed and self._health is not None:
            self._health.add(work.name, work.check)
        task = asyncio.create_task(work.go_on(after))
        self._tasks.append(task)
        return task


class _Work:
    """One piece of work: kept going where `every` is ``None``, else repeated."""

    def __init__(self, name: str, run: Run, every: float | None) -> None:
        self.name = name
        self._run = run
        self._every = every
        self._in_a_row = 0
        self._flaws_in_a_row = 0

    async def check(self) -> None:
        """Raise where the work fails again and again, and not for want of the store."""
        if self._flaws_in_a_row >= _FAILURES_UNTIL_UNREADY:
            message = f"{self.name} fails again and again"
            raise RuntimeError(message)

    async def go_on(self, after: asyncio.Task[None] | None) -> None:
        loop = asyncio.get_running_loop()
        if after is not None:
            await asyncio.wait([after])
        while True:
            began = loop.time()
            try:
                await self._run()
            except Exception as error:  # noqa: BLE001 - whatever it is, the work must go on
                if loop.time() - began >= _STEADY_SECONDS:
                    self._in_a_row = self._flaws_in_a_row = 0
                pause = self._failed(error)
            else:
                if self._every is None:
                    return
                self._in_a_row = self._flaws_in_a_row = 0
                pause = self._every
            await asyncio.sleep(pause)

    def _failed(self, error: Exception) -> float:
        """Take note of a failure; give the seconds until the next try."""
        pause: float = min(_LONGEST_PAUSE_SECONDS, _FIRST_PAUSE_SECONDS * 2**self._in_a_row)
        self._in_a_row = min(self._in_a_row + 1, 16)
        _FAILURES.labels(self.name).inc()
        if isinstance(error, Unavailable) or is_passing(error):
            _log.warning("background work failed", task=self.name, error=type(error).__name__, again_in_seconds=pause)
        else:
            self._flaws_in_a_row += 1
            _log.exception("background work failed", task=self.name, again_in_seconds=pause)
        return pause
