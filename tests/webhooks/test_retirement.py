"""Calls of sealed days are deleted whole; what comes late for them is kept and changes nothing."""

from __future__ import annotations

import asyncio

import pytest
from retention_factories import DAY_0, DAY_1, DAY_2, MODELS, Store, call, stored
from webhooks_factories import T0, event

from voice_common.store.conversations import VERSION
from voice_common.times import DAY_MS
from voice_webhooks import retirement
from voice_webhooks.projection.apply import Batch
from voice_webhooks.upgrade import Upgrade


async def test_calls_of_sealed_days_go_with_all_that_only_they_have(store: Store) -> None:
    for tenant in ("acme", "other"):
        await store.tenant(tenant)
        await store.take(
            *call("s0", T0, tenant=tenant), *call("s0-midnight", DAY_1 - 1, tenant=tenant),
            *call("s1", DAY_1, tenant=tenant),
        )  # fmt: skip
    other = await store.models("other")
    await store.seal(DAY_1)
    await store.look(T0)
    assert await store.sessions() == ["s1"]
    left = await store.models("acme")
    assert [document["_id"]["stream"] for document in left["parked"]] == ["leg:leg-s1"]
    assert [document["_id"]["id"] for document in left["aliases"]] == ["leg:leg-s1"]
    assert [document["_id"]["stream"] for document in left["retired"]] == [
        "leg:leg-s0", "leg:leg-s0-midnight", "session:s0", "session:s0-midnight",
    ]  # fmt: skip
    assert await store.events() == 15, "events are kept for as long as events are"
    assert await store.models("other") == other


async def test_a_late_event_of_a_deleted_call_is_kept_and_changes_nothing(store: Store) -> None:
    await store.tenant()
    await store.take(*call("s0", T0))
    await store.seal(DAY_1)
    await store.look(T0)
    await store.database["dirty_hours"].delete_many({})
    before, count = await store.models(), await store.events()
    await store.late(at=T0 + 5, call_session_id="s0")
    await store.late(at=DAY_2, call_session_id="s0", call_leg_id="another")
    await store.late(at=DAY_2, call_leg_id="leg-s0")
    assert await store.models() == before
    assert await store.events() == count + 3
    assert await store.database["dirty_hours"].count_documents({}) == 0


async def test_a_late_event_of_a_sealed_call_that_is_not_deleted_yet_changes_nothing(store: Store) -> None:
    await store.tenant()
    await store.take(*call("s0", T0))
    await store.seal(DAY_1)
    await store.database["dirty_hours"].delete_many({})
    before = await store.models()
    await store.late(at=T0 + 5, call_session_id="s0", start_time="2025-01-15T09:00:00Z")
    await store.late(at=DAY_2, call_session_id="s0")
    await store.late(at=DAY_2, call_leg_id="leg-s0")
    assert (await store.models())["conversations"] == before["conversations"]
    assert await store.database["dirty_hours"].count_documents({}) == 0
    await store.look(T0)
    assert await store.sessions() == []
    assert (await store.models())["parked"] == []


async def test_a_call_that_would_start_on_a_sealed_day_is_not_projected_into_it(store: Store) -> None:
    await store.tenant()
    await store.seal(DAY_1)
    await store.take(stored(event("call.initiated", T0, call_session_id="s0")))
    await store.take(stored(event("call.answered", DAY_1, call_session_id="s0")))
    await store.take(*call("together", DAY_1 - 1))
    await store.take(stored(event("call.bridged", T0, call_leg_id="nobody")))
    models = await store.models()
    assert models["conversations"] == []
    assert [document["_id"]["stream"] for document in models["retired"]] == [
        "leg:nobody", "session:s0", "session:together",
    ]  # fmt: skip
    assert await store.database["dirty_hours"].count_documents({}) == 0


@pytest.mark.parametrize("together", [True, False], ids=["in one batch", "apart"])
async def test_an_event_that_would_move_a_call_to_a_sealed_day_is_left_out_alone(
    store: Store, *, together: bool
) -> None:
    await store.tenant()
    await store.seal(DAY_1)
    await store.take(stored(event("call.initiated", DAY_1, call_session_id="s1")))
    moving = stored(event("call.bridged", DAY_1 + 5, call_session_id="s1", start_time="2025-01-15T23:59:59Z"))
    good = stored(event("call.answered", DAY_1 + 7, call_session_id="s1"))
    for batch in [[moving, good]] if together else [[moving], [good]]:
        await store.take(*batch)
    before = await store.models()
    assert [(found["started_at"], found["answered_at"]) for found in before["conversations"]] == [(DAY_1, DAY_1 + 7)]
    await store.rebuild()
    assert await store.models() == before
    await store.database["conversations"].update_many({}, {"$set": {"version": VERSION - 1}})
    await Upgrade(store.database).step()
    assert await store.models() == before


async def test_a_rebuild_brings_no_deleted_call_back_and_leaves_sealed_days_alone(store: Store) -> None:
    await store.tenant()
    await store.take(*call("s0", T0), *call("s0-midnight", DAY_1 - 1), *call("s1", DAY_1), *call("s2", DAY_2))
    await store.seal(DAY_1)
    await store.look(T0)
    await store.seal(DAY_2)
    await store.database["rollups"].insert_many([{"_id": {"tenant": "acme", "day": day}} for day in (DAY_0, DAY_1)])
    await store.database["dirty_hours"].delete_many({})
    before = await store.models()
    rebuilt = await store.rebuild()
    assert rebuilt.events == 20
    assert await store.models() == before
    assert await store.sessions() == ["s1", "s2"]
    marked = {mark["_id"]["hour"] async for mark in store.database["dirty_hours"].find({})}
    assert marked == {DAY_2}


async def test_a_parked_state_that_another_call_has_too_stays_for_it(store: Store) -> None:
    await store.tenant()
    await store.take(
        stored(event("call.initiated", T0, call_session_id="s0", conversation_id="v")),
        stored(event("call.initiated", DAY_1, call_session_id="s1", conversation_id="v")),
        stored(event("call.bridged", DAY_2, conversation_id="v")),
    )
    await store.seal(DAY_1)
    await store.look(T0)
    models = await store.models()
    assert [(found["_id"]["stream"], found["sessions"]) for found in models["parked"]] == [("conversation:v", ["s1"])]
    assert [found["sessions"] for found in models["aliases"]] == [["s1"]]
    await store.rebuild()
    assert await store.models() == models


async def test_what_was_parked_on_a_sealed_day_and_never_found_its_call_goes_too(store: Store) -> None:
    await store.tenant()
    for name, at in (("old", T0), ("new", DAY_1)):
        await store.take(stored(event("call.hangup", at, call_leg_id=name)))
    await store.seal(DAY_1)
    await store.look(T0)
    models = await store.models()
    assert [found["_id"]["stream"] for found in models["parked"]] == ["leg:new"]
    assert [found["_id"]["id"] for found in models["aliases"]] == ["leg:new"]
    await store.rebuild()
    assert await store.models() == models


@pytest.mark.parametrize("point", ["retirement.written", "retirement.committed"])
async def test_a_deletion_cut_short_anywhere_is_finished_by_the_next(
    store: Store, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    await store.tenant()
    for number in range(7):
        await store.take(*call(f"s{number}", T0 + number))
    await store.seal(DAY_1)
    monkeypatch.setattr(retirement, "_CALLS_AT_ONCE", 3)

    def crash(reached: str) -> None:
        if reached == point:
            raise KeyboardInterrupt

    with monkeypatch.context() as broken:
        broken.setattr(retirement, "reach", crash)
        with pytest.raises(KeyboardInterrupt):
            await store.look(T0)
    assert len(await store.sessions()) == (7 if point == "retirement.written" else 4)
    await store.database["leases"].delete_many({})
    await asyncio.gather(*(store.look(T0) for _ in range(2)))
    models = await store.models()
    assert [len(models[name]) for name in MODELS] == [0, 0, 0, 14]


async def test_a_call_that_changes_while_its_day_is_sealed_is_as_it_was_sealed(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.tenant()
    await store.take(*call("s0", T0 - DAY_MS), *call("s1", T0))
    await store.seal(DAY_0)
    before = (await store.models())["conversations"]
    write = Batch._write
    sealed: list[bool] = []

    async def amid(batch: Batch) -> None:
        if not sealed:
            sealed.append(True)
            await store.seal(DAY_1)
        await write(batch)

    monkeypatch.setattr(Batch, "_write", amid)
    await store.late(at=T0 + 70_000, call_session_id="s1")
    assert (await store.models())["conversations"] == before


async def test_what_was_due_goes_though_the_days_are_raised_and_nothing_comes_back(store: Store) -> None:
    await store.tenant(conversations=1, events=1)
    await store.take(*call("s0", T0), *call("s1", DAY_1))
    await store.seal(DAY_1)
    await store.tenant(conversations=None, events=None)
    await store.look(T0 + 10 * DAY_MS)
    assert await store.sessions() == ["s1"]
    await store.late(at=T0, call_session_id="s0")
    assert await store.sessions() == ["s1"]
