"""What was looked up is remembered for a few seconds, counted from the start of the look-up."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

V = TypeVar("V")

MAX_AGE = 4.0
"""Seconds that an answer about a token or tenant may be old: what is revoked ends within 5 s everywhere."""

_YOUNG = 0.5
"""The part of `max_age` after which what is remembered is looked up again beside."""


class Recall(Generic[V]):
    """Looks a key up by `load`, one look-up at a time for a key, and remembers the answer for `max_age` seconds.

    ``None`` (there is no such thing) is remembered only with `remember_absence`; without it, nobody gets a
    ``None`` from a look-up that began before they asked. Errors are not remembered. At most `size` answers of
    each kind are kept. A caller that leaves cancels nothing for the others.
    """

    def __init__(
        self,
        load: Callable[[str], Awaitable[V | None]],
        *,
        remember_absence: bool,
        max_age: float = MAX_AGE,
        size: int = 20_000,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._load = load
        self._remember_absence = remember_absence
        self._max_age = max_age
        self._size = size
        self._clock = clock
        self._known: dict[str, tuple[float, V]] = {}
        self._absent: dict[str, float] = {}
        self._under_way: dict[str, asyncio.Task[V | None]] = {}

    def known(self, key: str) -> V | None:
        """Give what is remembered and fresh, without waiting; what is no longer young is looked up beside.

        So a key that is asked for all the time is never unknown, and nobody has to wait when it gets too old.
        """
        entry = self._known.get(key)
        if entry is None:
            return None
        age = self._clock() - entry[0]
        if age >= self._max_age:
            return None
        if age >= self._max_age * _YOUNG and key not in self._under_way:
            self._begin(key)
        return entry[1]

    def known_absent(self, key: str) -> bool:
        """Tell whether it is remembered, freshly, that there is no such thing."""
        since = self._absent.get(key)
        return since is not None and self._clock() - since < self._max_age

    async def get(self, key: str) -> V | None:
        """Give what is remembered, else look it up; raises what `load` raises."""
        known = self.known(key)
        if known is not None or self.known_absent(key):
            return known
        while True:
            task = self._under_way.get(key)
            joined = task is not None
            if task is None:
                task = self._begin(key)
            found = await asyncio.shield(task)
            if found is not None or self._remember_absence or not joined:
                return found
            # The look-up that was joined may have read before the thing was made; the next one can't have.

    def _begin(self, key: str) -> asyncio.Task[V | None]:
        task = self._under_way[key] = asyncio.create_task(self._look_up(key))
        task.add_done_callback(_note_error)
        return task

    async def _look_up(self, key: str) -> V | None:
        started = self._clock()
        try:
            found = await self._load(key)
        finally:
            del self._under_way[key]
        if found is not None:
            _put(self._known, key, (started, found), self._size)
            self._absent.pop(key, None)
        else:
            self._known.pop(key, None)
            if self._remember_absence:
                _put(self._absent, key, started, self._size)
        return found


T = TypeVar("T")


def _note_error(task: asyncio.Task[T]) -> None:
    """Mark an error as seen: whoever waited got it, and nobody may be left."""
    if not task.cancelled():
        task.exception()


def _put(entries: dict[str, T], key: str, entry: T, size: int) -> None:
    entries.pop(key, None)  # the newest is last, so the first is the one that expires first
    entries[key] = entry
    if len(entries) > size:
        del entries[next(iter(entries))]
