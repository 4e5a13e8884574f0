"""No error ends background work in silence."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable

import pytest
from prometheus_client import REGISTRY
from pymongo.errors import ConnectionFailure

from voice_common import background as module
from voice_common.background import Background
from voice_common.web.health import Health


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_FIRST_PAUSE_SECONDS", 0.001)
    monkeypatch.setattr(module, "_LONGEST_PAUSE_SECONDS", 0.002)


@pytest.fixture
def health() -> Health:
    return Health()


@pytest.fixture
async def background(health: Health) -> AsyncIterator[Background]:
    background = Background(health)
    yield background
    await background.end()


async def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.001)


def failures(task: str) -> float:
    return REGISTRY.get_sample_value("voice_background_failures_total", {"task": task}) or 0.0


class Work:
    """Raises its errors one after the other, then goes on for ever."""

    def __init__(self, *errors: Exception) -> None:
        self.begun = 0
        self._errors = list(errors)

    async def run(self) -> None:
        self.begun += 1
        if self._errors:
            raise self._errors.pop(0)
        await asyncio.Event().wait()


async def test_work_that_fails_is_counted_and_begun_again(background: Background) -> None:
    work, before = Work(KeyError("of nobody's"), ZeroDivisionError()), failures("counted")
    task = background.keep("counted", work.run)
    await until(lambda: work.begun == 3)
    assert failures("counted") == before + 2
    assert not task.done()


async def test_work_that_is_done_is_not_begun_again(background: Background) -> None:
    begun = []

    async def once() -> None:
        begun.append(1)

    await background.keep("once", once)
    assert begun == [1]


async def test_repeated_work_goes_on_after_what_it_met(background: Background) -> None:
    looks = 0

    async def look() -> None:
        nonlocal looks
        looks += 1
        if looks == 2:
            raise KeyError

    background.repeat("repeated", look, every=0.001)
    await until(lambda: looks >= 4)


async def test_needed_work_that_fails_again_and_again_is_not_ready_until_it_goes_on(
    background: Background, health: Health
) -> None:
    failing = True

    async def look() -> None:
        if failing:
            raise KeyError

    background.repeat("needed", look, every=0.001, needed=True)
    background.repeat("useful", look, every=0.001)
    await until(lambda: failures("needed") >= 3)
    assert await health.report() == {"needed": "RuntimeError"}
    failing = False

    async def ready() -> bool:
        return await health.is_ready()

    deadline = time.monotonic() + 5
    while not await ready():
        assert time.monotonic() < deadline


async def test_a_store_that_is_away_is_told_of_by_its_own_check_alone(background: Background, health: Health) -> None:
    work = Work(*(ConnectionFailure() for _ in range(5)))
    background.keep("store", work.run, needed=True)
    await until(lambda: work.begun == 6)
    assert failures("store") == 5
    assert await health.report() == {"store": "ok"}


async def test_work_that_needs_another_piece_waits_until_that_is_done(background: Background) -> None:
    seen, gate = list[str](), asyncio.Event()

    async def first() -> None:
        await gate.wait()
        seen.append("first")

    async def second() -> None:
        seen.append("second")

    background.repeat("second", second, every=0.001, after=background.keep("first", first))
    for _ in range(10):
        await asyncio.sleep(0)
    gate.set()
    await until(lambda: len(seen) >= 2)
    assert seen[:2] == ["first", "second"]


async def test_the_end_ends_all_of_it(background: Background) -> None:
    tasks = [background.keep("kept", Work().run), background.repeat("other", Work(KeyError()).run, every=1)]
    await background.end()
    assert all(task.cancelled() for task in tasks)
