"""Deadlines of much that is under way at once, looked at together.

A timer for each request, set twice and nearly never due, costs a tenth of what forwarding the request does. Here one
timer looks at all of them every so often.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable
from contextlib import suppress
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


class Deadlines(Generic[K]):
    """When things are due; `overdue` is called with each that is, up to `tick` seconds late and only once."""

    def __init__(self, overdue: Callable[[K], None], *, tick: float) -> None:
        self._overdue = overdue
        self._tick = tick
        self._due: dict[K, float] = {}
        self._is_looking = False

    def set(self, key: K, at: float) -> None:
        """Let something be due `at` that time of the event loop's clock, and no more when it was."""
        self._due[key] = at
        if not self._is_looking:
            self._look()

    def forget(self, key: K) -> None:
        """Let what is over, or has no deadline, never be due."""
        self._due.pop(key, None)

    def _look(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        try:
            for key in [key for key, at in self._due.items() if at <= now]:
                del self._due[key]
                self._overdue(key)
        finally:  # whatever one of them meets: without the next look nothing would ever be due again
            self._is_looking = bool(self._due)
            if self._is_looking:
                loop.call_later(self._tick, self._look)


def expire(timeout: asyncio.Timeout) -> None:
    """Let a time-out (made without a time of its own) be due now; one that is over, or due already, stays as it is.

    After a stall a task goes on whose time-out has just expired, and may set it again.
    """
    with suppress(RuntimeError):
        timeout.reschedule(asyncio.get_running_loop().time())
