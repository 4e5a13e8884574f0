"""The rollups as documents: what is written, when it is used, and what happens when a refresh is cut short."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pymongo
import pytest
from analytics_factories import DAY_0, Call, World, mark, refresh_all

from voice_analytics import refresh
from voice_analytics.cover import Span
from voice_analytics.marks import DIRTY_HOURS, MARKS_AT_ONCE, forget_marks, thin_out
from voice_analytics.query import CallSums
from voice_analytics.refresh import RollupKeeper, TenantDay
from voice_analytics.rollups import ROLLUPS, VERSION, built_key, rollup_key
from voice_analytics.sealing import Sealing
from voice_analytics.sums import Sums
from voice_analytics.worker.loop import RollupWorker
from voice_common.mongo import Database
from voice_common.times import DAY_MS, HOUR_MS, TimeRange

ALL = TimeRange(None, None)


@pytest.fixture
async def keeper(database: Database) -> RollupKeeper:
    keeper = RollupKeeper(database)
    await keeper.prepare()
    return keeper


async def rollup(database: Database, tenant: str = "acme", day: int = DAY_0) -> dict[str, Any] | None:
    return await database[ROLLUPS].find_one({"_id": rollup_key(tenant, day)})


async def marks(database: Database) -> int:
    return await database[DIRTY_HOURS].count_documents({})


async def test_a_day_holds_its_total_and_only_hours_with_calls(database: Database, keeper: RollupKeeper) -> None:
    await World(database).change(
        Call(DAY_0 + 1, duration_ms=5, recording_available=True, sentiment="neutral"),
        Call(DAY_0 + 23 * HOUR_MS, duration_ms=7, tools_succeeded=1, tools_known=2),
    )
    await keeper.refresh("acme", DAY_0)
    assert await rollup(database) == {
        "_id": {"tenant": "acme", "day": DAY_0},
        "version": VERSION,
        "total": [2, 2, 12, 1, 1, 2, 0, 1, 0],
        "hours": {"0": [1, 1, 5, 1, 0, 0, 0, 1, 0], "23": [1, 1, 7, 0, 1, 2, 0, 0, 0]},
    }
    assert await marks(database) == 0


async def test_a_day_with_nothing_left_is_removed(database: Database, keeper: RollupKeeper) -> None:
    world = World(database)
    call = Call(DAY_0)
    await world.change(call)
    await keeper.refresh("acme", DAY_0)
    await world.change(removed=[call.session])
    await keeper.refresh("acme", DAY_0)
    assert await rollup(database) is None
    assert await marks(database) == 0


async def test_several_dirty_hours_of_a_day_are_one_write(database: Database, keeper: RollupKeeper) -> None:
    world = World(database)
    for hour in (1, 1, 5, 30):
        await world.change(Call(DAY_0 + hour * HOUR_MS))
    assert await keeper.dirty_days() == [TenantDay("acme", DAY_0 + DAY_MS), TenantDay("acme", DAY_0)]


async def test_a_mark_made_after_the_snapshot_outlives_the_refresh(
    database: Database, keeper: RollupKeeper, call_sums: CallSums, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(database)
    await world.change(Call(DAY_0))

    async def late(*given: Any) -> None:
        if len(world.calls) == 1:
            await world.change(Call(DAY_0 + 1))
        await forget_marks(*given)

    monkeypatch.setattr(refresh, "forget_marks", late)
    await keeper.build("acme")
    await keeper.refresh("acme", DAY_0)
    document = await rollup(database)
    assert document is not None
    assert document["total"][0] == 1
    assert await marks(database) == 1
    assert (await call_sums.total("acme", ALL)).calls == 2


@pytest.mark.parametrize("step", ["dirty_hours", "scan_hours", "rollup_document", "forget_marks"])
async def test_a_refresh_cut_short_changes_nothing(
    database: Database, keeper: RollupKeeper, call_sums: CallSums, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    world = World(database)
    await world.change(Call(DAY_0))
    await refresh_all(database)
    await world.change(Call(DAY_0), Call(DAY_0 + HOUR_MS))
    before = await rollup(database)

    def crash(*_: object, **__: object) -> None:
        raise KeyboardInterrupt(step)

    with monkeypatch.context() as broken:
        broken.setattr(refresh, step, crash)
        with pytest.raises(KeyboardInterrupt):
            await keeper.refresh("acme", DAY_0)
    assert await rollup(database) == before
    assert await marks(database) == 2
    assert (await call_sums.total("acme", ALL)).calls == 3
    await keeper.refresh("acme", DAY_0)
    assert await marks(database) == 0
    assert (await call_sums.total("acme", ALL)).calls == 3


@pytest.mark.usefixtures("keeper")
async def test_many_workers_at_once_are_harmless(database: Database, call_sums: CallSums) -> None:
    world = World(database)
    for n in range(10):
        await world.change(*(Call(DAY_0 + hour * HOUR_MS + n, duration_ms=hour) for hour in range(0, 24, 5)))
        await asyncio.gather(*(RollupKeeper(database).refresh("acme", DAY_0) for _ in range(4)))
        assert (await call_sums.total("acme", ALL)).calls == len(world.calls)
    document = await rollup(database)
    assert document is not None
    assert document["total"][:3] == [50, 50, 10 * (0 + 5 + 10 + 15 + 20)]
    assert await marks(database) == 0


async def test_rollups_of_another_version_are_not_used_and_made_anew(
    database: Database, keeper: RollupKeeper, call_sums: CallSums
) -> None:
    await World(database).change(Call(DAY_0), Call(DAY_0 + DAY_MS))
    await refresh_all(database)
    lie = {"version": VERSION - 1, "total": [99] * 9, "hours": {"0": [99] * 9}}
    await database[ROLLUPS].update_one({"_id": rollup_key("acme", DAY_0)}, {"$set": lie})
    assert (await call_sums.total("acme", ALL)).calls == 2
    assert await keeper.stale_days() == [TenantDay("acme", DAY_0)]
    await keeper.refresh("acme", DAY_0)
    document = await rollup(database)
    assert document is not None
    assert (document["version"], document["total"][0]) == (VERSION, 1)
    assert await keeper.stale_days() == []


async def test_a_newer_workers_rollups_are_left_to_it(
    database: Database, keeper: RollupKeeper, call_sums: CallSums
) -> None:
    await World(database).change(Call(DAY_0))
    await refresh_all(database)
    await database[ROLLUPS].update_one({"_id": rollup_key("acme", DAY_0)}, {"$set": {"version": VERSION + 1}})
    assert await keeper.stale_days() == []
    assert (await call_sums.total("acme", ALL)).calls == 1


async def test_rollups_that_were_dropped_are_not_missed_and_made_anew(
    database: Database, keeper: RollupKeeper, call_sums: CallSums
) -> None:
    world = World(database)
    await world.change(*(Call(DAY_0 + hour * HOUR_MS, duration_ms=1000) for hour in range(72)))
    await refresh_all(database)
    await database[ROLLUPS].drop()
    assert (await call_sums.total("acme", ALL)).calls == 72
    # A refresh before the build sees a day without a document, and must not take its dirty hour for all of it.
    await world.change(Call(DAY_0 + HOUR_MS))
    await keeper.refresh("acme", DAY_0)
    assert await keeper.unbuilt_tenants() == ["acme"]
    await keeper.build("acme")
    assert await keeper.unbuilt_tenants() == []
    assert (await call_sums.total("acme", ALL)).calls == 73
    await refresh_all(database)
    assert await keeper.stale_days() == []
    assert (await call_sums.total("acme", ALL)) == Sums(73, 73, 72_000 + 60_000)


async def test_a_build_cut_short_is_begun_again(database: Database, keeper: RollupKeeper, call_sums: CallSums) -> None:
    await World(database).change(Call(DAY_0), Call(DAY_0 + DAY_MS))
    await keeper.build("acme")
    await database[ROLLUPS].delete_one({"_id": built_key("acme")})  # as if it had not been reached
    await database[ROLLUPS].delete_one({"_id": rollup_key("acme", DAY_0)})
    await database[DIRTY_HOURS].delete_many({})
    assert (await call_sums.total("acme", ALL)).calls == 2
    assert await keeper.unbuilt_tenants() == ["acme"]
    await refresh_all(database)
    assert (await call_sums.total("acme", ALL)).calls == 2


async def test_clean_whole_days_come_from_rollups_alone(database: Database, call_sums: CallSums) -> None:
    world = World(database)
    await world.change(Call(DAY_0), Call(DAY_0 + DAY_MS + 1))
    await refresh_all(database)
    await database["conversations"].delete_many({})  # the calls are not asked, so their absence is not seen
    assert (await call_sums.total("acme", ALL)).calls == 2
    assert (await call_sums.total("acme", TimeRange(DAY_0, DAY_0 + DAY_MS))).calls == 1
    assert (await call_sums.total("acme", TimeRange(DAY_0 + HOUR_MS, DAY_0 + DAY_MS + HOUR_MS))).calls == 1
    assert (await call_sums.total("acme", TimeRange(DAY_0, DAY_0 + DAY_MS + 2))).calls == 1  # a cut hour is asked live
    await database[DIRTY_HOURS].insert_one(mark("acme", DAY_0))
    assert (await call_sums.total("acme", ALL)).calls == 1  # so is a dirty one


async def test_of_a_cut_hour_the_smaller_part_is_read(database: Database, call_sums: CallSums) -> None:
    world, minute = World(database), HOUR_MS // 60
    early, late = Call(DAY_0 + 10 * minute), Call(DAY_0 + 50 * minute)
    await world.change(early, late)
    await refresh_all(database)

    async def calls(start: int, end: int) -> int:
        return (await call_sums.total("acme", TimeRange(DAY_0 + start * minute, DAY_0 + end * minute))).calls

    cases = [(20, 60), (40, 60), (0, 45), (0, 5), (5, 55), (20, 40)]
    assert [await calls(*case) for case in cases] == [1, 1, 1, 0, 2, 0]
    await database["conversations"].delete_one({"started_at": early.started_at})
    assert await calls(20, 60) == 2, "the hour's sums without what lies before, where there is nothing any more"
    assert await calls(0, 20) == 0, "what the range has of the hour"
    assert await calls(60, 120) == await calls(130, 140) == 0


async def put_marks(database: Database, hours: Sequence[int], count: int) -> None:
    """Put `count` marks on hours in turns, in place of all others, as the server makes them."""
    hour = {"$arrayElemAt": [list(hours), {"$mod": ["$n", len(hours)]}]}
    key = {"tenant": "acme", "hour": hour, "batch": {"$concat": ["many:", {"$toString": "$n"}]}}
    numbers: list[dict[str, Any]] = [{"$documents": [{"n": {"$range": [0, count]}}]}, {"$unwind": "$n"}]
    with pymongo.timeout(60):
        cursor = await database.aggregate([*numbers, {"$project": {"_id": key}}, {"$out": DIRTY_HOURS}])
        await cursor.to_list()


async def test_a_day_with_400_000_marks_is_refreshed_in_portions_and_exact_meanwhile(
    database: Database, keeper: RollupKeeper, call_sums: CallSums
) -> None:
    world, many = World(database), 400_000
    await world.change(*(Call(DAY_0 + n * HOUR_MS) for n in range(24)))
    await refresh_all(database)
    await put_marks(database, [DAY_0, DAY_0 + HOUR_MS], many)
    await world.change(Call(DAY_0 + 1))
    for turn in range(3):
        assert (await call_sums.total("acme", ALL)).calls == 25
        assert await marks(database) == many + 1 - turn * MARKS_AT_ONCE
        await keeper.refresh("acme", DAY_0)
    with pymongo.timeout(60):  # the other forty turns, but for the last ones
        await database[DIRTY_HOURS].delete_many({"_id.batch": {"$regex": "^many:[0-35-9]"}})
    for _ in range(20):
        await keeper.refresh("acme", DAY_0)
    assert await marks(database) == 0
    document = await rollup(database)
    assert document is not None
    assert document["total"][0] == 25


async def test_marks_are_thinned_out_beside_refreshes_and_new_calls_and_none_is_missed(
    database: Database, keeper: RollupKeeper, call_sums: CallSums, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("voice_analytics.marks.MARKS_AT_ONCE", 20)
    world, day = World(database), Span(DAY_0, DAY_0 + DAY_MS)
    await world.change(Call(DAY_0))
    await refresh_all(database)

    async def change(n: int) -> None:
        await world.change(Call(DAY_0 + n))

    for turn in range(6):
        await put_marks(database, [DAY_0, DAY_0 + HOUR_MS], 60)
        thinning = [thin_out(database, "acme", day) for _ in range(3)]
        await asyncio.gather(*thinning, keeper.refresh("acme", DAY_0), change(turn))
        assert (await call_sums.total("acme", ALL)).calls == len(world.calls)
        while await marks(database):
            await keeper.refresh("acme", DAY_0)
        assert (await call_sums.total("acme", ALL)).calls == len(world.calls)


async def test_what_fails_keeps_nothing_else_of_a_round_from_being_done(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    await World(database).change(Call(DAY_0), Call(DAY_0 + DAY_MS))
    await World(database, "zebra").change(Call(DAY_0))
    sealed, refresh = [], RollupKeeper.refresh

    async def fails(self: RollupKeeper, tenant: str, day: int) -> None:
        if (tenant, day) == ("acme", DAY_0):
            raise ZeroDivisionError
        await refresh(self, tenant, day)

    async def step(_self: Sealing) -> int:
        sealed.append(True)
        return 0

    monkeypatch.setattr(RollupKeeper, "refresh", fails)
    monkeypatch.setattr(Sealing, "step", step)
    worker = RollupWorker(database, poll_seconds=0.01)
    assert await worker._lease.held()
    with pytest.raises(ExceptionGroup):
        await worker._round()
    assert sealed
    assert await rollup(database, "acme", DAY_0 + DAY_MS) is not None
    assert await rollup(database, "zebra") is not None
