"""After each step of the world and of the workers, every answer is what a plain scan over the calls gives."""

from __future__ import annotations

import asyncio
import uuid
from urllib.parse import urlencode

from analytics_factories import (
    DAY_0,
    Ask,
    Call,
    World,
    inside,
    refresh_all,
    scan_detailed,
    scan_overview,
    scan_timeline,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from voice_analytics.marks import DIRTY_HOURS
from voice_analytics.query import CallSums
from voice_analytics.rollups import ROLLUPS, VERSION
from voice_common.mongo import Database
from voice_common.times import DAY_MS, HOUR_MS, TimeRange, render_ms

Step = tuple[str, list[Call] | list[str] | None]
Ends = tuple[int | None, int | None]
DAYS = 3
MOMENTS = st.one_of(
    st.integers(0, DAYS * 24).map(lambda hour: DAY_0 + hour * HOUR_MS),
    st.integers(0, DAYS * DAY_MS).map(lambda ms: DAY_0 + ms),
    st.builds(lambda hour, off: DAY_0 + hour * HOUR_MS + off, st.integers(1, DAYS * 24 - 1), st.sampled_from([-1, 1])),
)
CALLS = st.builds(
    Call,
    started_at=MOMENTS,
    phase=st.sampled_from(["open", "completed", "failed"]),
    duration_ms=st.integers(0, 10**7),
    recording_available=st.booleans(),
    tools_succeeded=st.integers(0, 3),
    tools_known=st.integers(3, 6),
    sentiment=st.sampled_from([None, "positive", "neutral", "negative"]),
    session=st.integers(0, 15).map(str),
)
RANGES = st.tuples(st.none() | MOMENTS, st.none() | MOMENTS).filter(lambda ends: None in ends or ends[0] <= ends[1])
STEPS = st.one_of(
    st.tuples(st.just("change"), st.lists(CALLS, min_size=1, max_size=8)),
    st.tuples(st.just("remove"), st.lists(st.integers(0, 15).map(str), min_size=1, max_size=4)),
    st.tuples(st.sampled_from(["refresh", "refresh"]), st.none()),
    st.tuples(st.sampled_from(["two refresh", "refresh amid changes"]), st.lists(CALLS, min_size=1, max_size=3)),
    st.tuples(st.sampled_from(["drop rollups", "drop some", "older version", "newer version"]), st.none()),
)


@given(st.lists(st.tuples(STEPS, st.lists(RANGES, min_size=1, max_size=2)), min_size=2, max_size=8))
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_answers_equal_a_full_scan_after_every_step(
    database: Database,
    ask: Ask,
    steps: list[tuple[tuple[str, list[Call] | list[str] | None], list[tuple[int | None, int | None]]]],
) -> None:
    world = World(database, uuid.uuid4().hex)
    for (what, given_), ranges in steps:
        await _take(world, what, given_)
        for ends in [*ranges, (None, None)]:
            await _compare(world, ask, *ends)
    await refresh_all(database)
    await _compare(world, ask, None, None)
    assert await database[DIRTY_HOURS].count_documents({"_id.tenant": world.tenant}) == 0
    rolled_up = {document["_id"]["day"] async for document in database[ROLLUPS].find({"_id.tenant": world.tenant})}
    assert rolled_up - {-1} == {call.started_at // DAY_MS * DAY_MS for call in world.calls.values()}


async def _take(world: World, what: str, given_: list[Call] | list[str] | None) -> None:
    rollups, own = world.database[ROLLUPS], {"_id.tenant": world.tenant}
    calls = [call for call in given_ or [] if isinstance(call, Call)]
    match what:
        case "change":
            await world.change(*calls)
        case "remove":
            await world.change(removed=[key for key in given_ or [] if isinstance(key, str)])
        case "refresh":
            await refresh_all(world.database)
        case "two refresh":
            await world.change(*calls)
            await asyncio.gather(refresh_all(world.database), refresh_all(world.database))
        case "refresh amid changes":
            await asyncio.gather(refresh_all(world.database), *(world.change(call) for call in calls[:1]))
        case "drop rollups":
            await rollups.delete_many(own)
        case "drop some":  # all that an operator may do: what says that they are built goes first
            await rollups.delete_many({**own, "_id.day": {"$lt": DAY_0 + DAY_MS}})
        case "older version":
            await rollups.update_one({**own, "version": VERSION}, {"$set": {"version": VERSION - 1}})
        case "newer version":
            await rollups.update_one(
                {**own, "version": VERSION}, {"$set": {"version": VERSION + 1, "total": {"of": "its own"}, "hours": []}}
            )


async def _compare(world: World, ask: Ask, start: int | None, end: int | None) -> None:
    calls = inside(world.calls, start, end)
    bounds = {"start_date": start, "end_date": end}
    query = urlencode({name: render_ms(moment) for name, moment in bounds.items() if moment is not None})

    async def answer(route: str, more: str = "") -> object:
        status, body = await ask(f"{route}?{query}&{more}", tenant=world.tenant)
        assert status == 200, body
        return body.popitem()[1]

    assert await answer("overview") == scan_overview(calls)
    assert await answer("detailed") == scan_detailed(calls)
    assert await answer("timeline", "bucket=day") == scan_timeline(calls, DAY_MS)
    assert await answer("timeline", "bucket=hour") == scan_timeline(calls, HOUR_MS)
    if start is not None and end is not None:
        filled = [] if start == end else range(start // HOUR_MS * HOUR_MS, end, HOUR_MS)
        assert await answer("timeline", "bucket=hour&fill=zero") == scan_timeline(calls, HOUR_MS, filled)


async def test_an_answer_is_of_one_moment_while_calls_move_and_workers_refresh(
    database: Database, call_sums: CallSums
) -> None:
    """Calls move from day to day, so that marks, rollups and calls read at two moments would not add up."""
    world = World(database)
    await world.change(*(Call(DAY_0 + n * HOUR_MS, session=str(n)) for n in range(20)))
    await refresh_all(database)
    done = asyncio.Event()

    async def move() -> None:
        for turn in range(1, 25):
            await world.change(*(Call(DAY_0 + (n + turn * 7) % 60 * HOUR_MS, session=str(n)) for n in range(20)))
        done.set()

    async def keep_fresh() -> None:
        while not done.is_set():
            await refresh_all(database)

    async def ask() -> None:
        while not done.is_set():
            assert (await call_sums.total(world.tenant, TimeRange(None, None))).calls == 20

    async with asyncio.TaskGroup() as group:
        for task in (move, keep_fresh, ask, ask):
            group.create_task(task())
