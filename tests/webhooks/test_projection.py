from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from watchdog import Watchdog
from webhooks_factories import T0, Service, body_of, event, until

from voice_common.mongo import Client, Database, connect
from voice_common.store.conversations import conversation_document
from voice_common.store.envelope import read_envelope
from voice_common.store.events import EventStore, StoredEvent
from voice_common.store.state import CallState
from voice_common.store.tenants import Tenant, TenantExistsError, TenantStore
from voice_common.times import HOUR_MS
from voice_local.servers import Server
from voice_webhooks.contribution import contribution_of
from voice_webhooks.contribution.sentiment import score_of
from voice_webhooks.directory import CachedDirectory
from voice_webhooks.projection.contributions import contributions_of
from voice_webhooks.projection.language import is_english
from voice_webhooks.projection.projection import Projection
from voice_webhooks.projector import Projector
from voice_webhooks.take_over import TakeOver
from voice_webhooks.workers import Registration, WorkerStore

SAID = ["good", "I really love it", "I hate it, this is terrible", "das war sehr gut, danke", "no, no, muchas gracias"]
TYPES = ["call.initiated", "call.answered", "call.hangup", "call.bridged", "ai.assistant.transcript", "call.unknown"]


def stored(document: dict[str, Any], tenant: str = "acme") -> StoredEvent:
    body = body_of(document)
    envelope = read_envelope(body, received_at=T0)
    return StoredEvent(tenant, envelope.stream, envelope.event, envelope.type, envelope.occurred_at, T0, "key", body)


async def test_a_large_event_is_read_beside_the_event_loop() -> None:
    messages = [{"role": "user", "content": f"{number} I hate it, it is not good " * 30} for number in range(900)]
    large = stored(event("call.conversation.ended", messages=messages, call_session_id="s1"))
    lines: list[int] = []

    async def read() -> None:
        score_of.cache_clear()
        (contribution,) = await asyncio.create_task(contributions_of([large]))
        lines.extend(len(said.lines) for said in contribution.state.lines.values())

    with Watchdog() as watchdog:
        await watchdog.judge(read)
    assert lines[0] == 900


@dataclass(frozen=True)
class Scenario:
    events: list[StoredEvent]
    order: list[int]
    cuts: list[int]


@st.composite
def scenarios(draw: st.DrawFn) -> Scenario:
    count = draw(st.integers(1, 12))
    events = []
    for number in range(count):
        ids: dict[str, Any] = {}
        for name, values in (
            ("call_session_id", ["s1", "s2", None, None]),
            ("call_leg_id", ["l1", "l2", "l3", None]),
            ("call_control_id", ["c1", "c2", None]),
            ("conversation_id", ["v1", None, None]),
        ):
            ids[name] = draw(st.sampled_from(values))
        kind = draw(st.sampled_from(TYPES))
        at = T0 + draw(st.integers(-3, 3)) * HOUR_MS // 2
        said = {"role": "user", "text": draw(st.sampled_from(SAID)), "is_final": draw(st.booleans())}
        events.append(stored(event(kind, at, id=f"e{number}", direction="incoming", **said, **ids)))
    deliveries = draw(st.lists(st.integers(0, count - 1), max_size=6))
    order = draw(st.permutations([*range(count), *deliveries]))
    cuts = draw(st.lists(st.integers(1, 5), min_size=1, max_size=8))
    return Scenario(events, order, cuts)


def oracle(events: Sequence[StoredEvent]) -> list[dict[str, Any]]:
    """Say what the conversations come to, by the contract's words: no batches, no documents, no order."""
    by_stream: dict[str, CallState] = {}
    for one in events:
        state = contribution_of(read_envelope(one.body, received_at=one.received_at), one.key)
        if state is not None:
            by_stream[one.stream] = by_stream[one.stream].join(state) if one.stream in by_stream else state
    conversations = []
    for stream, own in by_stream.items():
        if not stream.startswith("session:"):
            continue
        state, changed = own, True
        while changed:
            changed = False
            for other, parked in by_stream.items():
                if not other.startswith("session:") and parked.ids & state.ids and state.join(parked) != state:
                    state, changed = state.join(parked), True
        conversations.append(conversation_document("acme", stream.removeprefix("session:"), state, is_english))
    return sorted(conversations, key=lambda document: str(document["_id"]["session"]))


async def conversations(database: Database) -> list[dict[str, Any]]:
    return [document async for document in database["conversations"].find({}).sort("_id", 1)]


async def living(database: Database, tenant: str = "acme") -> CachedDirectory:
    """Give the directory of a database in which `tenant` lives."""
    store = TenantStore(database)
    with suppress(TenantExistsError):
        await store.create(Tenant(tenant, tenant))
    return CachedDirectory(store)


async def wipe(database: Database) -> None:
    for name in ("conversations", "parked", "aliases", "dirty_hours", "set_aside"):
        await database[name].delete_many({})


def in_batches(scenario: Scenario) -> list[list[StoredEvent]]:
    left = [scenario.events[number] for number in scenario.order]
    batches = []
    for size in scenario.cuts:
        batches.append(left[:size])
        left = left[size:]
    return [batch for batch in [*batches, left] if batch]


def test_any_order_repetition_batching_and_split_give_the_same_conversations(mongo_server: Server) -> None:
    @settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(scenarios(), st.booleans())
    def check(scenario: Scenario, at_once: bool) -> None:  # noqa: FBT001 - drawn
        asyncio.run(run(scenario, at_once=at_once))

    async def run(scenario: Scenario, *, at_once: bool) -> None:
        client: Client = connect(mongo_server.url, timeout_seconds=10)
        try:
            database = client["test_projection_orders"]
            await wipe(database)
            directory = await living(database)
            batches = in_batches(scenario)
            if at_once:
                await asyncio.gather(*(Projection(database, directory).project(batch) for batch in batches))
            else:
                for batch in batches:
                    await Projection(database, directory).project(batch)
            assert await conversations(database) == oracle(scenario.events)
            assert await database["set_aside"].count_documents({}) == 0
        finally:
            await client.close()

    check()


async def test_an_hour_is_marked_only_when_its_figures_change(database: Database) -> None:
    projection = Projection(database, await living(database))
    ids = {"call_session_id": "s1", "call_leg_id": "l1"}

    async def marks() -> set[int]:
        hours = {mark["_id"]["hour"] async for mark in database["dirty_hours"].find({})}
        await database["dirty_hours"].delete_many({})
        return hours

    started = stored(event("call.initiated", T0, **ids))
    await projection.project([started])
    assert await marks() == {T0}
    await projection.project([started])
    assert await marks() == set()
    await projection.project([stored(event("call.bridged", T0 + 5, **ids))])
    assert await marks() == set()
    await projection.project([stored(event("call.bridged", T0 - 1, **ids))])
    assert await marks() == {T0, T0 - HOUR_MS}, "the call moved: the old hour and the new one"
    await projection.project(
        [stored(event("call.answered", T0 + 1, **ids)), stored(event("call.hangup", T0 + 9, **ids))]
    )
    assert await marks() == {T0 - HOUR_MS}


async def test_what_is_parked_is_not_listed_until_an_event_ties_it_to_a_session(database: Database) -> None:
    projection = Projection(database, await living(database))
    await projection.project([stored(event("call.hangup", T0 + 9, call_leg_id="l1"))])
    assert await conversations(database) == []
    await projection.project([stored(event("call.initiated", T0, call_session_id="s1", call_leg_id="l1"))])
    (conversation,) = await conversations(database)
    assert conversation["ended_at"] == T0 + 9


async def test_an_event_that_cannot_be_projected_is_set_aside_and_the_rest_goes_on(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    from voice_webhooks.projection import contributions  # noqa: PLC0415

    def contribution(envelope: Any, key: str) -> CallState | None:
        if envelope.event == "poison":
            raise ZeroDivisionError
        return contribution_of(envelope, key)

    monkeypatch.setattr(contributions, "contribution_of", contribution)
    names = ["a", "poison", "b"]
    await Projection(database, await living(database)).project(
        [stored(event("call.initiated", id=name, call_session_id=f"s-{name}")) for name in names]
    )
    assert [found["_id"]["session"] for found in await conversations(database)] == ["s-a", "s-b"]
    (aside,) = [found async for found in database["set_aside"].find({})]
    assert aside["_id"]["event"] == "poison"
    assert aside["error"].startswith("ZeroDivisionError at test_projection.py:")


async def leave_behind(database: Database, worker: str, *events: StoredEvent, first: int = 1) -> None:
    await database["events"].insert_many([one.to_document(worker, seq) for seq, one in enumerate(events, start=first)])


async def taken_over(take_over: TakeOver) -> None:
    """Take over all that is left."""
    while await take_over.step(lambda: asyncio.sleep(0)):
        pass


async def test_what_a_worker_that_died_left_is_projected_by_another(service: Service) -> None:
    left = stored(event("call.initiated", call_session_id="left"))
    await leave_behind(service.database, "dead", left)
    await WorkerStore(service.database).renew("dead", 0)
    assert await service.conversation("left") is None
    await until(lambda: service.conversation("left"), seconds=10)


async def test_an_insert_that_lands_after_the_take_over_is_projected_too(database: Database) -> None:
    workers, events = WorkerStore(database), EventStore(database)
    projection = Projection(database, await living(database))
    await leave_behind(database, "dead", stored(event("call.initiated", call_session_id="s2")), first=2)
    await workers.renew("dead", 0)
    await workers.end("dead")
    take_over = TakeOver(projection.project, events, workers)
    await taken_over(take_over)
    assert [found["_id"]["session"] for found in await conversations(database)] == ["s2"]
    await leave_behind(database, "dead", stored(event("call.initiated", call_session_id="s1")), first=1)
    await taken_over(take_over)
    assert [found["_id"]["session"] for found in await conversations(database)] == ["s1", "s2"]


async def test_what_is_more_than_memory_holds_is_left_to_the_take_over_and_newer_events_go_first(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("voice_webhooks.projector._HELD_EVENTS", 3)
    workers, order = WorkerStore(database), list[str]()
    projection = Projection(database, await living(database))
    registration = Registration(workers)
    project, newest = projection.project, asyncio.Event()

    async def noted(events: Sequence[StoredEvent]) -> None:
        own = events[0].event == "e8"
        if not own:
            await newest.wait()  # what is in memory does not wait for the take-over
        await project(events)
        order.extend(one.event for one in events)
        if own:
            newest.set()

    monkeypatch.setattr(projection, "project", noted)
    projector = Projector(projection, EventStore(database), workers, registration)
    events = [stored(event("call.initiated", id=f"e{number}", call_session_id=f"s{number}")) for number in range(10)]
    for pair in range(0, 10, 2):
        await registration.renew(0)
        first = registration.next_numbers(2)
        await leave_behind(database, registration.id, *events[pair : pair + 2], first=first)
        projector.committed(registration.id, list(enumerate(events[pair : pair + 2], start=first)))
    projector.start()

    async def all_there() -> bool:
        return len(await conversations(database)) == len(events)

    await until(all_there)
    await projector.drain()
    assert order[:2] == ["e8", "e9"], "what came last was in memory"
    assert sorted(order) == sorted(one.event for one in events), "each was projected once"


async def test_nothing_is_projected_for_a_tenant_that_was_deleted(database: Database) -> None:
    directory = await living(database)
    await directory.current()
    await TenantStore(database).mark_deleted("acme")
    late = stored(event("call.initiated", call_session_id="s1"))
    await Projection(database, CachedDirectory(TenantStore(database))).project([late])
    assert await conversations(database) == []


async def test_a_tenant_newer_than_the_copy_of_the_directory_is_projected(database: Database) -> None:
    directory = await living(database)
    await directory.current()
    await TenantStore(database).create(Tenant("new", "New"))
    first = stored(event("call.initiated", call_session_id="s1"), "new")
    await Projection(database, directory).project([first])
    assert [found["_id"]["tenant"] for found in await conversations(database)] == ["new"]
