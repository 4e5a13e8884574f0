"""Deadlines of much that is under way at once, looked at together.

A timer for each request, set twice and nearly never due, costs a tenth of what forwarding the request does. Here one
timer looks at all of them every so often, and only those that are due get one of their own.
"""

from __future__ import annotations

import asyncio


class Deadlines:
    """When time-outs (made without a time of their own) are due; that is noticed up to `tick` seconds late."""

    def __init__(self, *, tick: float) -> None:
        self._tick = tick
        self._due: dict[asyncio.Timeout, float] = {}
        self._is_looking = False

    def set(self, timeout: asyncio.Timeout, at: float) -> None:
        """Let a time-out that was entered be due `at` that time of the event loop's clock, and no more when it was."""
        self._due[timeout] = at
        if not self._is_looking:
            self._look()

    def forget(self, timeout: asyncio.Timeout) -> None:
        """Let a time-out that is over, or has no deadline, never be due."""
        self._due.pop(timeout, None)

    def _look(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        for timeout in [timeout for timeout, at in self._due.items() if at <= now]:
            del self._due[timeout]
            timeout.reschedule(now)
        self._is_looking = bool(self._due)
        if self._is_looking:
            loop.call_later(self._tick, self._look)
