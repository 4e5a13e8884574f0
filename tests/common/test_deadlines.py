"""Deadlines that are looked at together end what takes too long, and nothing else."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress

import pytest
from gateway_factories import until

from voice_common.deadlines import Deadlines, expire

TICK = 0.01


def now() -> float:
    return asyncio.get_running_loop().time()


def since(moment: float) -> float:
    """Give the seconds since a moment of the event loop's clock, which is of whole milliseconds on uvloop."""
    return round(now() - moment, 3)


async def waits(deadlines: Deadlines[asyncio.Timeout], *seconds: float, until: asyncio.Event | None = None) -> float:
    """Wait for `until`, with deadlines that are set one after the other; give when it was over."""
    timeout = asyncio.timeout(None)
    try:
        async with timeout:
            for each in seconds:
                deadlines.set(timeout, now() + each)
            await (until or asyncio.Event()).wait()
    finally:
        deadlines.forget(timeout)
    return now()


async def test_what_takes_longer_than_its_deadline_is_ended_and_its_neighbour_is_not() -> None:
    deadlines, released, began = Deadlines(expire, tick=TICK), asyncio.Event(), now()
    overdue = [asyncio.create_task(waits(deadlines, 0.05)) for _ in range(3)]
    patient = asyncio.create_task(waits(deadlines, 60, until=released))
    outcomes = await asyncio.gather(*overdue, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [TimeoutError] * 3
    assert since(began) >= 0.05
    released.set()
    assert await patient >= began


@pytest.mark.parametrize(("seconds", "least"), [((0.02, 0.1), 0.1), ((60, 0.02), 0.02), ((-1,), 0)])
async def test_of_the_deadlines_that_were_set_the_last_one_counts(seconds: tuple[float, ...], least: float) -> None:
    began = now()
    with pytest.raises(TimeoutError):
        await waits(Deadlines(expire, tick=TICK), *seconds)
    assert least <= since(began) < 30


async def test_a_cancellation_from_elsewhere_stays_one() -> None:
    task = asyncio.create_task(waits(Deadlines(expire, tick=TICK), 60))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_it_stops_looking_once_nothing_is_under_way_and_begins_again() -> None:
    deadlines, released = Deadlines(expire, tick=TICK), asyncio.Event()
    for _ in range(2):
        released.clear()
        task = asyncio.create_task(waits(deadlines, 60, until=released))
        await asyncio.sleep(0)
        assert deadlines._is_looking
        released.set()
        await task
        await until(lambda: not deadlines._is_looking)


async def test_a_deadline_that_is_set_again_after_it_was_due_ends_no_other() -> None:
    """As after a stall: the task that is to be ended goes on for a moment, and sets its next deadline."""
    deadlines, timeout = Deadlines(expire, tick=TICK), asyncio.timeout(None)

    async def goes_on_for_a_moment() -> None:
        async with timeout:
            deadlines.set(timeout, now() - 1)
            time.sleep(3 * TICK)  # noqa: ASYNC251 - a stall of the event loop
            for _ in range(3):
                deadlines.set(timeout, now() - 1)
                with suppress(asyncio.CancelledError):
                    await asyncio.sleep(TICK)

    await asyncio.wait([asyncio.create_task(goes_on_for_a_moment())])
    deadlines.set(timeout, now() - 1)
    with pytest.raises(TimeoutError):
        await waits(deadlines, TICK)


async def test_what_one_overdue_thing_meets_keeps_no_other_from_being_due() -> None:
    seen: list[str] = []

    def overdue(key: str) -> None:
        seen.append(key)
        if key == "bad":
            raise ZeroDivisionError

    reported: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context["exception"]))
    deadlines = Deadlines(overdue, tick=TICK)
    deadlines.set("later", now() + 3 * TICK)
    deadlines.set("bad", now())
    deadlines.set("good", now())
    await until(lambda: seen[-1:] == ["later"])
    assert sorted(seen) == ["bad", "good", "later"]
    assert [type(error) for error in reported] == [ZeroDivisionError]
