"""What tenants do not want kept is deleted, and nothing else changes by it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest
from webhooks_factories import T0, Service, Signer, body_of, event, start_service, until

from voice_common.mongo import Database
from voice_common.store.conversations import VERSION
from voice_common.store.envelope import read_envelope
from voice_common.store.events import EventStore, StoredEvent
from voice_common.store.horizons import horizon_key
from voice_common.store.tenants import DEFAULT_RETENTION, RetentionKind, Tenant, TenantStore
from voice_common.times import DAY_MS
from voice_local.servers import Server
from voice_webhooks import expiry, retirement
from voice_webhooks.contribution.transcripts import is_partial
from voice_webhooks.directory import CachedDirectory
from voice_webhooks.projection.apply import Batch
from voice_webhooks.projection.documents import create_projection_indexes
from voice_webhooks.projector import Projection
from voice_webhooks.rebuild import Rebuild, Rebuilt
from voice_webhooks.retention import Retention
from voice_webhooks.upgrade import Upgrade
from voice_webhooks.workers import WorkerStore

DAY_0 = T0 - T0 % DAY_MS
DAY_1, DAY_2 = DAY_0 + DAY_MS, DAY_0 + 2 * DAY_MS
HOUR = 3_600_000
MODELS = ("conversations", "parked", "aliases", "retired")


def stored(document: Mapping[str, Any], *, tenant: str = "acme", received_at: int | None = None) -> StoredEvent:
    body = body_of(document)
    envelope = read_envelope(body, received_at=T0)
    received = envelope.occurred_at if received_at is None else received_at
    key = (tenant, envelope.stream, envelope.event, envelope.type)
    return StoredEvent(*key, envelope.occurred_at, received, "key", body, partial=is_partial(envelope))


def call(name: str, at: int, *, tenant: str = "acme") -> list[StoredEvent]:
    """Give a call's events: three of its session, two that name its leg only, a partial transcript among them."""
    ids: dict[str, Any] = {"call_session_id": name, "call_leg_id": f"leg-{name}"}
    spoken = {"role": "user", "text": "good", **ids}
    return [
        stored(document, tenant=tenant)
        for document in (
            event("call.initiated", at, **ids),
            event("call.answered", at + 1000, **ids),
            event("ai.assistant.transcript", at + 2000, is_final=False, **spoken),
            event("ai.assistant.transcript", at + 3000, is_final=True, **spoken),
            event("call.hangup", at + 60_000, call_leg_id=f"leg-{name}"),
        )
    ]


class Store:
    """A database with tenants, events that are stored and projected, and a retention whose clock the test sets."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.tenants = TenantStore(database)
        self.projection = Projection(database, CachedDirectory(self.tenants))
        self._seq = 0

    async def tenant(self, name: str = "acme", **days: int | None) -> None:
        kept = {RetentionKind(kind): count for kind, count in days.items()}
        retention = {**DEFAULT_RETENTION, **kept}
        if name in await self.tenants.retentions():
            await self.tenants.replace(Tenant(name, name, retention=retention))
        else:
            await self.tenants.create(Tenant(name, name, retention=retention))

    async def keep(self, *events: StoredEvent, worker: str = "worker") -> None:
        documents = []
        for one in events:
            self._seq += 1
            documents.append(one.to_document(worker, self._seq))
        await self.database["events"].insert_many(documents)

    async def take(self, *events: StoredEvent) -> None:
        """Store and project, as the service does."""
        await self.keep(*events)
        await self.projection.project(events)

    async def late(self, **payload: Any) -> None:
        """Take one more event, later than all."""
        await self.take(stored(event("call.answered", **payload)))

    async def look(self, now: int) -> None:
        retention = Retention(self.database, clock=lambda: now)
        await retention.look()
        await retention._lease.release()

    async def seal(self, before: int, tenant: str = "acme") -> None:
        """Do what the analytics worker does to a day's horizon."""
        await self.database["horizons"].update_one(
            {"_id": horizon_key(tenant)}, {"$set": {"sealed_before": before}}, upsert=True
        )

    async def rebuild(self) -> Rebuilt:
        return await Rebuild(self.database, self.projection, tenant=None, progress=lambda _phase, _size: None).run()

    async def models(self, tenant: str | None = None) -> dict[str, list[dict[str, Any]]]:
        chosen = {} if tenant is None else {"_id.tenant": tenant}
        return {name: await self.database[name].find(chosen).sort("_id", 1).to_list() for name in MODELS}

    async def sessions(self, tenant: str = "acme") -> list[str]:
        found = await self.database["conversations"].find({"_id.tenant": tenant}).sort("_id", 1).to_list()
        return [document["_id"]["session"] for document in found]

    async def events(self, tenant: str = "acme") -> int:
        return await self.database["events"].count_documents({"_id.tenant": tenant})


@pytest.fixture
async def store(database: Database) -> Store:
    await EventStore(database).create_indexes()
    await create_projection_indexes(database)
    return Store(database)


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


# Conversations


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
