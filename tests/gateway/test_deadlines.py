"""Deadlines that are looked at together end what takes too long, and nothing else."""

from __future__ import annotations

import asyncio
import time

import pytest

from voice_gateway.deadlines import Deadlines

TICK = 0.01


def now() -> float:
    return asyncio.get_running_loop().time()


async def test_what_takes_longer_than_its_deadline_is_ended_and_its_neighbour_is_not() -> None:
    deadlines = Deadlines(tick=TICK)
    released = asyncio.Event()

    async def waits(at: float) -> str:
        timeout = asyncio.timeout(None)
        try:
            async with timeout:
                deadlines.set(timeout, at)
                await released.wait()
        except TimeoutError:
            return "ended"
        finally:
            deadlines.forget(timeout)
        return "released"

    began = time.monotonic()
    overdue = [asyncio.create_task(waits(now() + 0.05)) for _ in range(3)]
    patient = asyncio.create_task(waits(now() + 60))
    assert await asyncio.gather(*overdue) == ["ended"] * 3
    assert time.monotonic() - began >= 0.05
    released.set()
    assert await patient == "released"


async def test_a_deadline_that_is_set_again_is_the_later_one() -> None:
    deadlines = Deadlines(tick=TICK)
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(None) as timeout:
            deadlines.set(timeout, now() + 0.02)
            deadlines.set(timeout, now() + 0.1)
            await asyncio.sleep(60)
    assert time.monotonic() - began >= 0.1


async def test_a_deadline_that_is_past_ends_what_waits_at_its_next_wait() -> None:
    deadlines = Deadlines(tick=TICK)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(None) as timeout:
            deadlines.set(timeout, now() - 1)
            await asyncio.sleep(60)


async def test_a_cancellation_from_elsewhere_stays_one() -> None:
    deadlines = Deadlines(tick=TICK)
    entered = asyncio.Event()

    async def waits() -> None:
        async with asyncio.timeout(None) as timeout:
            deadlines.set(timeout, now() + 60)
            entered.set()
            await asyncio.sleep(60)

    task = asyncio.create_task(waits())
    await entered.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_nothing_is_looked_at_once_nothing_is_under_way() -> None:
    deadlines = Deadlines(tick=TICK)
    async with asyncio.timeout(None) as timeout:
        deadlines.set(timeout, now() + 60)
        deadlines.forget(timeout)
    looked = asyncio.Event()
    asyncio.get_running_loop().call_later(2 * TICK, looked.set)
    await looked.wait()
    assert not deadlines._is_looking
    with pytest.raises(TimeoutError):  # and it begins again
        async with asyncio.timeout(None) as timeout:
            deadlines.set(timeout, now() + TICK)
            await asyncio.sleep(60)
