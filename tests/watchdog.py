"""Finds what keeps an event loop from its other work."""

from __future__ import annotations

import asyncio
import gc
import time
from asyncio import events
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, Self

from voice_common.serving import settle_collector


class Watchdog:
    """Measures each callback of the loops of this thread while it is open; `slow` are those over `limit` seconds.

    By the thread's CPU time and not by the clock: on a machine that others use, a callback that was paused has
    not blocked anything by itself. Works with asyncio's own loop, as uvloop has no handle to look into.
    """

    def __init__(self, limit: float = 0.1) -> None:
        self.limit = limit
        self.slow: list[str] = []
        self.longest = 0.0
        self._exempt: set[int] = set()
        self._run = events.Handle._run

    async def judge(self, work: Callable[[], Awaitable[None]]) -> None:
        """Do `work`, whose own task is left out, and fail where a callback is slow.

        What is slow is done twice: on a busy machine even CPU time has outliers, and what blocks does it again.
        """
        self._exempt = {id(asyncio.current_task())}
        self.slow.clear()
        await work()
        if self.slow:
            self.slow.clear()
            await work()
            assert self.slow == [], self.slow

    def __enter__(self) -> Self:
        gc.collect()
        self._thresholds = gc.get_threshold()
        settle_collector()  # as a service does: a full collection over all that is imported is no callback's work
        original, watchdog = self._run, self

        def run(handle: asyncio.Handle) -> None:
            callback = handle._callback  # type: ignore[attr-defined]
            began = time.thread_time()
            original(handle)
            took = time.thread_time() - began
            if took > min(watchdog.longest, watchdog.limit):
                watchdog._note(callback, took)

        events.Handle._run = run  # type: ignore[assignment, method-assign]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        events.Handle._run = self._run  # type: ignore[method-assign]
        gc.set_threshold(*self._thresholds)
        gc.unfreeze()

    def _note(self, callback: Any, took: float) -> None:
        owner = getattr(callback, "__self__", None)
        if id(owner) in self._exempt:
            return
        self.longest = max(self.longest, took)
        if took > self.limit:
            name = owner.get_coro() if isinstance(owner, asyncio.Task) else callback
            self.slow.append(f"{took:.3f} s of CPU in {name!r}")
