"""Runs a check on many made-up examples, on one event loop that lives as long as what is checked."""

from __future__ import annotations

import asyncio
import itertools
import os
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import Generic, TypeVar

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.strategies import SearchStrategy

SECONDS = float(os.environ.get("VOICE_SOAK_SECONDS", "1200"))
SEED = int(os.environ.get("VOICE_SOAK_SEED", "7"))
_ROUND = 50
# What fails is shown as it was found: to make it smaller would take longer than a suite has.
_SETTINGS = settings(
    deadline=None, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck), print_blob=False
)

Subject = TypeVar("Subject")
Example = TypeVar("Example")


class Explorer(Generic[Subject]):
    """A running subject, and the loop that it lives on; `count` is how many examples it was checked with."""

    def __init__(self, subject: Subject, runner: asyncio.Runner) -> None:
        self.subject = subject
        self._runner = runner
        self.count = 0

    def some(
        self, examples: SearchStrategy[Example], check: Callable[[Subject, Example], Awaitable[None]], count: int
    ) -> None:
        """Check `count` examples, the same ones each time."""
        settings(_SETTINGS, max_examples=count, derandomize=True)(given(examples)(self._checking(check)))()

    def many(
        self, examples: SearchStrategy[Example], check: Callable[[Subject, Example], Awaitable[None]], seconds: float
    ) -> None:
        """Check other examples each round, for `seconds`."""
        deadline = time.monotonic() + seconds
        for number in itertools.count(SEED):
            if time.monotonic() > deadline:
                return
            seed(number)(settings(_SETTINGS, max_examples=_ROUND)(given(examples)(self._checking(check))))()

    def _checking(self, check: Callable[[Subject, Example], Awaitable[None]]) -> Callable[[Example], None]:
        async def checked(example: Example) -> None:
            self.count += 1
            await check(self.subject, example)

        def once(example: Example) -> None:
            self._runner.run(checked(example))

        return once


@contextmanager
def exploring(make: Callable[[], AbstractAsyncContextManager[Subject]]) -> Iterator[Explorer[Subject]]:
    """Start a subject on a loop of its own, asyncio's; stop it at the end."""
    with asyncio.Runner() as runner:
        subject = make()
        made = runner.run(subject.__aenter__())
        try:
            yield Explorer(made, runner)
        finally:
            runner.run(subject.__aexit__(None, None, None))


def say(sentence: str) -> None:
    """Tell what a long run did."""
    sys.stdout.write(f"{sentence}\n")
