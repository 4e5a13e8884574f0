"""Sealed days: their rollups answer for calls that are not there any more, and for none that come later."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import pytest
from analytics_factories import DAY_0, Ask, Call, World, mark, refresh_all
from pymongo.errors import OperationFailure

from voice_analytics import sealing
from voice_analytics.marks import DIRTY_HOURS
from voice_analytics.query import CallSums
from voice_analytics.refresh import RollupKeeper
from voice_analytics.rollups import ROLLUPS, VERSION, built_key, rollup_key, seal_rollup
from voice_analytics.sealing import Sealing
from voice_analytics.worker.loop import RollupWorker
from voice_common.mongo import Database, Session, in_transaction
from voice_common.store.conversations import create_conversation_indexes
from voice_common.store.horizons import HORIZONS, horizon_key, horizons_of, touch_horizon
from voice_common.store.tenants import DEFAULT_RETENTION, RetentionKind, Tenant, TenantStore
from voice_common.times import DAY_MS, HOUR_MS, TimeRange, render_ms

DAYS = 5
ALL = TimeRange(None, None)
KEPT = 2


class Sealed(World):
    """A tenant that keeps its calls for two days, with calls on some hours of all days but one."""

    def __init__(self, database: Database, tenant: str = "acme") -> None:
        super().__init__(database, tenant)
        self.sealing = Sealing(database, clock=lambda: DAY_0 + DAYS * DAY_MS, announced_seconds=0)

    async def begin(self, days: int | None = KEPT) -> None:
        await create_conversation_indexes(self.database)
        await RollupKeeper(self.database).prepare()
        retention = {**DEFAULT_RETENTION, RetentionKind.CONVERSATIONS: days}
        await TenantStore(self.database).create(Tenant(self.tenant, self.tenant, retention=retention))
        await self.change(
            *(
                Call(DAY_0 + day * DAY_MS + hour * HOUR_MS + 60_000, duration_ms=1000 * hour, sentiment="neutral")
                for day in range(DAYS)
                for hour in (0, 5, 23)
                if day != 1
            )
        )
        await refresh_all(self.database)

    async def sealed_before(self) -> int:
        return (await horizons_of(self.database, [self.tenant]))[self.tenant].sealed_before

    async def forget_calls(self) -> None:
        """Do what the webhooks service does once days are sealed."""
        chosen = {"_id.tenant": self.tenant, "started_at": {"$lt": await self.sealed_before()}}
        await self.database["conversations"].delete_many(chosen)


@pytest.fixture
async def world(database: Database) -> Sealed:
    world = Sealed(database)
    await world.begin()
    return world


async def answers(ask: Ask, tenant: str = "acme") -> list[Any]:
    """Ask all that whole days, hours and open ranges can be asked for."""
    ranges = ["", "start_date=2025-01-15&end_date=2025-01-15", "start_date=2025-01-16&end_date=2025-01-18"]
    ranges += ["start_date=2025-01-15T05:00:00Z&end_date=2025-01-17T23:00:00Z", "end_date=2025-01-15T06:00:00Z"]
    ranges += [f"start_date=2025-01-15T23:00:00Z&end_date={render_ms(DAY_0 + 4 * DAY_MS + 5 * HOUR_MS + 1)}"]
    routes = ["overview?", "detailed?", "timeline?bucket=day&", "timeline?bucket=hour&"]
    found = [await ask(route + period, tenant=tenant) for period in ranges for route in routes]
    assert {status for status, _ in found} == {200}
    return found


async def test_answers_over_sealed_days_stay_equal_when_the_calls_are_deleted(world: Sealed, ask: Ask) -> None:
    other = Sealed(world.database, "other")
    await other.begin(None)
    before, of_other = await answers(ask), await answers(ask, "other")
    assert await world.sealing.step() == 3
    assert await answers(ask) == before
    await world.forget_calls()
    assert await world.database["conversations"].count_documents({"_id.tenant": "acme"}) == 6
    assert await answers(ask) == before
    assert await answers(ask, "other") == of_other
    assert await other.sealed_before() == 0
    await refresh_all(world.database)
    assert await answers(ask) == before


async def test_a_day_is_sealed_once_all_of_it_is_older_than_the_tenants_days(world: Sealed) -> None:
    await Sealing(world.database, clock=lambda: DAY_0 + 3 * DAY_MS - 1, announced_seconds=0).step()
    assert await world.sealed_before() == 0
    await Sealing(world.database, clock=lambda: DAY_0 + 3 * DAY_MS, announced_seconds=0).step()
    assert await world.sealed_before() == DAY_0 + DAY_MS
    await world.sealing.step()
    assert await world.sealed_before() == DAY_0 + 3 * DAY_MS, "a day without calls too"
    assert await world.sealing.step() == 0


async def test_a_day_with_a_dirty_hour_waits_for_the_rollup_worker(world: Sealed, call_sums: CallSums) -> None:
    late = Call(DAY_0 + 2 * DAY_MS + 7)
    await world.change(late)
    assert await world.sealing.step() == 2
    assert await world.sealed_before() == DAY_0 + 2 * DAY_MS
    await refresh_all(world.database)
    assert await world.sealing.step() == 1
    await world.forget_calls()
    assert (await call_sums.total("acme", ALL)).calls == 13


@pytest.mark.parametrize("version", [VERSION - 1, VERSION + 1])
async def test_a_day_whose_rollup_is_of_another_version_is_not_sealed(world: Sealed, version: int) -> None:
    await world.database[ROLLUPS].update_one({"_id": rollup_key("acme", DAY_0)}, {"$set": {"version": version}})
    assert await world.sealing.step() == 0
    await world.database[ROLLUPS].update_one({"_id": rollup_key("acme", DAY_0)}, {"$set": {"version": VERSION}})
    await world.database[ROLLUPS].delete_one({"_id": built_key("acme")})
    assert await world.sealing.step() == 0
    assert await world.sealed_before() == 0


async def test_no_day_is_sealed_while_calls_that_older_code_made_are_made_again(world: Sealed) -> None:
    await world.database["conversations"].update_one({}, {"$set": {"version": 0}})
    assert await world.sealing.step() == 0


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("start_date=2025-01-15T05:30:00Z", 400),
        ("end_date=2025-01-17T23:59:59.999Z", 400),
        ("start_date=2025-01-16T00:00:00.001Z&end_date=2025-01-30", 400),
        ("start_date=2025-01-15T05:00:00Z&end_date=2025-01-17T23:00:00Z", 200),
        ("start_date=2025-01-18T00:00:00.001Z", 200),
        ("start_date=2025-01-15&end_date=2025-01-18T00:30:00Z", 200),
        ("start_date=2025-01-15T05:30:00Z&end_date=2025-01-15T05:30:00Z", 200),
    ],
)
async def test_a_range_that_cuts_an_hour_of_a_sealed_day_is_refused_and_no_other(
    world: Sealed, ask: Ask, query: str, status: int
) -> None:
    await world.sealing.step()
    for route in ("overview?", "detailed?", "timeline?bucket=hour&", "timeline?bucket=day&"):
        found, body = await ask(route + query)
        assert found == status
        if status == 400:
            assert set(body) == {"error"}
            assert "2025-01-18T00:00:00Z" in body["error"]
            assert "full hours" in body["error"]


async def test_what_is_marked_or_stored_late_on_a_sealed_day_changes_nothing(world: Sealed, ask: Ask) -> None:
    before = await answers(ask)
    await world.sealing.step()
    await world.forget_calls()
    documents = await world.database[ROLLUPS].find({}).sort("_id", 1).to_list()
    await world.change(Call(DAY_0 + 7 * HOUR_MS))
    await world.database[DIRTY_HOURS].insert_many([mark("acme", DAY_0), mark("acme", DAY_0 + DAY_MS)])
    assert await answers(ask) == before
    await refresh_all(world.database)
    assert await world.database[DIRTY_HOURS].count_documents({}) == 0
    assert await world.database[ROLLUPS].find({}).sort("_id", 1).to_list() == documents
    assert await answers(ask) == before


async def test_a_sealed_rollup_is_of_every_version(world: Sealed, ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    before = await answers(ask)
    await world.sealing.step()
    await world.forget_calls()
    older = {"$set": {"sealed": VERSION - 1, "total": [3, 3, 28_000, 0, 0, 0, 0, 3]}}
    newer = {"$push": {"total": 99, "hours.0": 99}}
    for day, change in ((DAY_0, older), (DAY_0 + 2 * DAY_MS, newer)):
        await world.database[ROLLUPS].update_one({"_id": rollup_key("acme", day)}, change)
    assert await answers(ask) == before
    monkeypatch.setattr("voice_analytics.rollups.VERSION", VERSION + 1)
    monkeypatch.setattr("voice_analytics.refresh.VERSION", VERSION + 1)
    keeper = RollupKeeper(world.database)
    assert {day for _, day in await keeper.stale_days()} == {DAY_0 + 3 * DAY_MS, DAY_0 + 4 * DAY_MS}
    assert await answers(ask) == before
    await refresh_all(world.database)
    assert await answers(ask) == before


async def test_before_rollups_are_built_sealed_days_are_answered_all_the_same(world: Sealed, ask: Ask) -> None:
    before = await answers(ask)
    await world.sealing.step()
    await world.forget_calls()
    await world.database[ROLLUPS].delete_many({"_id.day": {"$in": [-1, DAY_0 + 3 * DAY_MS]}})
    assert await answers(ask) == before
    await refresh_all(world.database)
    assert await answers(ask) == before


async def test_a_call_of_the_next_day_and_the_sealing_of_that_day_conflict(
    world: Sealed, monkeypatch: pytest.MonkeyPatch, call_sums: CallSums
) -> None:
    """The sealing has read that no hour is dirty; then a call is stored there before it writes."""
    stored: list[Call] = []

    async def store() -> None:
        call = Call(DAY_0 + 2 * DAY_MS + 9)

        async def body(session: Session) -> None:
            await touch_horizon(world.database, "acme", session=session)
            await world.database["conversations"].insert_one(call.document("acme"), session=session)
            await world.database[DIRTY_HOURS].insert_one(mark("acme", call.started_at), session=session)

        await in_transaction(world.database.client, body)
        stored.append(call)

    async def amid(database: Database, session: Session, tenant: str, day: int) -> None:
        if day == DAY_0 + 2 * DAY_MS and not stored:
            await store()
        await seal_rollup(database, session, tenant, day)

    monkeypatch.setattr(sealing, "seal_rollup", amid)
    assert await world.sealing.step() == 2
    assert await world.sealed_before() == DAY_0 + 2 * DAY_MS
    await refresh_all(world.database)
    await world.sealing.step()
    await world.forget_calls()
    assert (await call_sums.total("acme", ALL)).calls == 13


async def test_two_workers_seal_each_day_once(world: Sealed, ask: Ask) -> None:
    before = await answers(ask)
    assert sum(await asyncio.gather(*(world.sealing.step() for _ in range(3)))) == 3
    await world.forget_calls()
    assert await answers(ask) == before


async def test_the_collection_that_decides_who_seals_is_there_before_any_transaction_writes_to_it(
    database: Database,
) -> None:
    await RollupKeeper(database).prepare()
    assert HORIZONS in await database.list_collection_names()


async def test_more_days_bring_nothing_back_and_seal_no_more(world: Sealed) -> None:
    await world.sealing.step()
    tenants = TenantStore(world.database)
    await tenants.replace(Tenant("acme", "acme", retention={**DEFAULT_RETENTION, RetentionKind.CONVERSATIONS: 4}))
    assert await world.sealing.step() == 0
    assert await world.sealed_before() == DAY_0 + 3 * DAY_MS
    await tenants.replace(Tenant("acme", "acme", retention={**DEFAULT_RETENTION, RetentionKind.CONVERSATIONS: 1}))
    assert await world.sealing.step() == 1


async def test_the_worker_seals(world: Sealed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sealing, "LONGEST_TRANSACTION_SECONDS", 0)
    worker = RollupWorker(world.database, poll_seconds=0.02)
    task = asyncio.create_task(worker.run())
    async with asyncio.timeout(10):
        while await world.sealed_before() < DAY_0 + DAYS * DAY_MS:  # noqa: ASYNC110 - the event is in the store
            await asyncio.sleep(0.02)
    worker.stop()
    await task
    horizon = await world.database[HORIZONS].find_one({"_id": horizon_key("acme")})
    assert horizon is not None
    assert await world.database[ROLLUPS].count_documents({"sealed": VERSION}) == 4


async def test_no_day_is_sealed_before_it_was_announced_for_longer_than_a_transaction_can_last(world: Sealed) -> None:
    patient = Sealing(world.database, clock=lambda: DAY_0 + DAYS * DAY_MS, announced_seconds=60)
    assert await patient.step() == 0
    horizon = (await horizons_of(world.database, ["acme"]))["acme"]
    assert (horizon.sealed_before, horizon.sealing_before) == (0, DAY_0 + 3 * DAY_MS)
    assert horizon.is_sealing(DAY_0 + 3 * DAY_MS - 1)
    assert not horizon.is_sealing(DAY_0 + 3 * DAY_MS)
    assert await patient.step() == 0, "nor at the next look"
    await world.database[HORIZONS].update_one(
        {}, [{"$set": {"announced_at": {"$subtract": ["$announced_at", 60_000]}}}]
    )
    assert await patient.step() == 3


@pytest.mark.parametrize("day", [0, 1, 2])
async def test_a_call_of_any_day_that_is_sealed_while_it_is_stored_is_counted(
    world: Sealed, call_sums: CallSums, day: int
) -> None:
    """A batch with a call of a past day is under way as several days are sealed, the tenant's very first one too."""
    await Sealing(world.database, clock=lambda: DAY_0 + DAYS * DAY_MS, announced_seconds=60).step()
    late, begun = Call(DAY_0 + day * DAY_MS + 9), list[bool]()

    async def store(session: Session) -> None:
        horizon = (await horizons_of(world.database, ["acme"], session=session))["acme"]
        if horizon.seals(late.started_at):
            return  # as the projection does: the day has its figures
        if horizon.is_sealing(late.started_at):
            await touch_horizon(world.database, "acme", session=session)
        if not begun:
            begun.append(True)
            with suppress(OperationFailure):  # it may be the one that has to give way
                await world.sealing.step()
        await world.database["conversations"].insert_one(late.document("acme"), session=session)
        await world.database[DIRTY_HOURS].insert_one(mark("acme", late.started_at), session=session)

    sealing_too = asyncio.create_task(in_transaction(world.database.client, store))
    await sealing_too
    await refresh_all(world.database)
    await world.sealing.step()
    await world.forget_calls()
    sealed = await world.database[DIRTY_HOURS].count_documents({}) == 0
    assert sealed
    stored = (await call_sums.total("acme", ALL)).calls
    assert stored in {12, 13}
    assert stored == 13 or (await horizons_of(world.database, ["acme"]))["acme"].seals(late.started_at)


async def test_a_tenant_whose_days_can_not_be_sealed_keeps_no_other_tenant_from_it(
    world: Sealed, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Sealed(world.database, "zebra")
    await other.begin()
    seal_day = Sealing._seal_day

    async def fails_for_acme(self: Sealing, tenant: str, end: int) -> bool:
        if tenant == "acme":
            raise OperationFailure("too much", 50)
        return await seal_day(self, tenant, end)

    monkeypatch.setattr(Sealing, "_seal_day", fails_for_acme)
    with pytest.raises(ExceptionGroup):
        await world.sealing.step()
    assert await other.sealed_before() == DAY_0 + 3 * DAY_MS


async def test_calls_of_older_code_keep_their_own_day_from_being_sealed_and_no_other_tenants(world: Sealed) -> None:
    other = Sealed(world.database, "zebra")
    await other.begin()
    older = {"_id.tenant": "acme", "started_at": {"$gte": DAY_0 + 2 * DAY_MS}}
    await world.database["conversations"].update_many(older, {"$set": {"version": 0}})
    await world.sealing.step()
    assert await world.sealed_before() == DAY_0 + 2 * DAY_MS
    assert await other.sealed_before() == DAY_0 + 3 * DAY_MS
