"""What tenants do not want kept is deleted, and nothing else changes by it."""

from __future__ import annotations

from typing import Any

import pytest
from retention_factories import HOUR, Store, call
from webhooks_factories import T0, Service, Signer, event, start_service, until

from voice_common.mongo import Database
from voice_common.store.conversations import VERSION
from voice_common.store.tenants import DEFAULT_RETENTION
from voice_common.times import DAY_MS
from voice_local.servers import Server
from voice_webhooks import expiry
from voice_webhooks.retention import Retention
from voice_webhooks.upgrade import Upgrade
from voice_webhooks.workers import WorkerStore

# Partial transcripts


async def test_only_partial_transcripts_are_marked_as_such(service: Service) -> None:
    ids: dict[str, Any] = {"connection_id": "1001", "call_session_id": "s1", "role": "user", "text": "hello"}
    await service.status(event("ai.assistant.transcript", id="partial", is_final=False, **ids))
    await service.status(event("ai.assistant.transcript", id="final", is_final=True, **ids))
    found = await service.database["events"].find({}).to_list()
    assert {document["_id"]["event"]: document.get("partial", "unmarked") for document in found} == {
        "partial": True,
        "final": "unmarked",
    }


async def test_partials_go_after_the_tenants_days_and_conversations_stay_identical(store: Store) -> None:
    await store.tenant()
    await store.tenant("slow", partials=30)
    await store.tenant("ever", partials=None)
    for tenant in ("acme", "slow", "ever"):
        await store.take(*call("s1", T0, tenant=tenant))
    before = await store.models()
    await store.look(T0 + 7 * DAY_MS)
    assert await store.events() == 5, "not before seven days after it was received"
    await store.look(T0 + 7 * DAY_MS + HOUR)
    assert [await store.events(tenant) for tenant in ("acme", "slow", "ever")] == [4, 5, 5]
    await store.look(T0 + 300 * DAY_MS)
    assert [await store.events(tenant) for tenant in ("acme", "slow", "ever")] == [4, 4, 5]
    assert await store.models() == before
    rebuilt = await store.rebuild()
    assert not any(rebuilt.corrected.values())
    assert await store.models() == before


async def test_old_partials_are_found_by_an_index_that_holds_nothing_else(store: Store) -> None:
    await store.tenant()
    for number in range(20):
        await store.keep(*call(f"s{number}", T0 + number))
    chosen = {"_id.tenant": "acme", "received_at": {"$lt": T0 + DAY_MS}, "partial": True}
    plan = await store.database["events"].find(chosen).sort("received_at", 1).hint("partials").explain()
    assert plan["executionStats"]["totalKeysExamined"] == 20
    assert "SORT" not in str(plan["queryPlanner"]["winningPlan"])


async def test_the_service_deletes_in_the_background(
    database: Database, mongo_server: Server, signer: Signer, store: Store
) -> None:
    await store.tenant()
    await store.take(*call("s1", T0))
    service, stop = await start_service(database, mongo_server.url, signer)
    try:

        async def gone() -> bool:
            return await store.events() == 4

        await until(gone)
        assert "voice_retention_deleted_total" in await (await service.client.get("/metrics")).text()
    finally:
        await stop()


# Events


async def test_events_go_after_the_tenants_days_with_what_was_set_aside(store: Store) -> None:
    await store.tenant(events=30)
    await store.tenant("other")
    for tenant in ("acme", "other"):
        await store.take(*call("s1", T0, tenant=tenant), *call("s2", T0 + 10 * DAY_MS, tenant=tenant))
    first = await store.database["events"].find_one({"_id.tenant": "acme"}, sort=[("received_at", 1)])
    assert first is not None
    await store.database["set_aside"].insert_one({"_id": first["_id"], "error": "x"})
    await store.look(T0 + 30 * DAY_MS + HOUR)
    assert {stream["_id"]["stream"] async for stream in store.database["events"].find({"_id.tenant": "acme"})} == {
        "session:s2",
        "leg:leg-s2",
    }
    assert await store.events("other") == 8, "its partials are gone, as is the default"
    assert await store.database["set_aside"].count_documents({}) == 0


async def test_the_intake_pays_for_the_index_by_receipt_only_while_a_tenant_wants_it(store: Store) -> None:
    async def there() -> bool:
        return "by_receipt" in await store.database["events"].index_information()

    await store.tenant()
    await store.keep(*call("s1", T0))
    await store.look(T0)
    assert not await there()
    await store.tenant(events=1)
    await store.look(T0)
    assert await there()
    await store.tenant(events=None)
    await store.look(T0)
    assert not await there()


async def test_an_event_that_is_not_projected_yet_is_kept(store: Store) -> None:
    await store.tenant(events=1, partials=None)
    await store.keep(*call("s1", T0), worker="dead")
    await WorkerStore(store.database).renew("dead", 2)
    await store.look(T0 + 3 * DAY_MS)
    left = await store.database["events"].find({}).to_list()
    assert sorted(document["seq"] for document in left) == [3, 4, 5]
    await WorkerStore(store.database).renew("dead", 5)
    await store.look(T0 + 3 * DAY_MS)
    assert await store.events() == 0


async def test_a_rebuild_leaves_calls_whose_events_are_partly_gone_as_they_are(store: Store) -> None:
    await store.tenant(events=30)
    await store.take(*call("old", T0 - 10 * DAY_MS), *call("cut", T0), *call("new", T0 + 5 * DAY_MS))
    right = await store.models()
    await store.look(T0 + 30 * DAY_MS + 2_500)
    assert (
        0 < await store.database["events"].count_documents({"_id.stream": {"$in": ["session:cut", "leg:leg-cut"]}}) < 5
    )
    assert await store.database["events"].count_documents({"_id.stream": "session:old"}) == 0
    wrong = {"$set": {"state.newest_at": T0 + 99 * DAY_MS}}
    await store.database["conversations"].update_one({"_id.session": "new"}, wrong)
    rebuilt = await store.rebuild()
    assert await store.models() == right
    assert rebuilt.corrected == {"conversations": 1, "parked": 0, "aliases": 0}, "the one whose events are all there"


async def test_newer_code_keeps_the_facts_of_calls_whose_events_are_partly_gone(store: Store) -> None:
    await store.tenant(events=30)
    await store.take(*call("cut", T0), *call("new", T0 + 5 * DAY_MS))
    right = (await store.models())["conversations"]
    await store.look(T0 + 30 * DAY_MS + 2_500)
    of_older_code = {"$set": {"version": VERSION - 1, "hangup_cause": "as older code saw it"}}
    await store.database["conversations"].update_many({}, of_older_code)
    while await Upgrade(store.database).step():
        pass
    cut, new = (await store.models())["conversations"]
    assert cut == {**right[0], "hangup_cause": "as older code saw it"}
    assert new == right[1]
    await store.late(at=T0 + 70_000, call_session_id="cut")
    (cut, _) = (await store.models())["conversations"]
    assert cut["newest_at"] == T0 + 70_000, "what comes later still counts"


async def test_an_interruption_before_the_first_event_goes_is_made_up_for(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.tenant(events=1)
    await store.take(*call("s1", T0))
    right = await store.models()

    def crash(point: str) -> None:
        raise KeyboardInterrupt(point)

    with monkeypatch.context() as broken:
        broken.setattr(expiry, "reach", crash)
        with pytest.raises(KeyboardInterrupt):
            await store.look(T0 + 3 * DAY_MS)
    assert await store.events() == 5
    await store.rebuild()
    await store.database["leases"].delete_many({})
    await store.look(T0 + 3 * DAY_MS)
    assert await store.events() == 0
    await store.rebuild()
    assert await store.models() == right


# All kinds


async def test_a_tenant_of_before_has_the_default(store: Store) -> None:
    await store.tenant()
    await store.database["tenants"].update_many({}, {"$unset": {"retention": ""}})
    assert (await store.tenants.get("acme")).retention == {"partials": 7, "events": None, "conversations": None}
    assert await store.tenants.retentions() == {"acme": DEFAULT_RETENTION}


async def test_only_one_process_deletes_at_a_time(store: Store) -> None:
    await store.tenant()
    await store.keep(*call("s1", T0))
    holder, next_one = (Retention(store.database, clock=lambda: T0 + 30 * DAY_MS) for _ in range(2))
    assert await holder._lease.held()
    await next_one.look()
    assert await store.events() == 5
    await holder.look()
    assert await store.events() == 4
