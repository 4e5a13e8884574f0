"""A call has a bound of its own; what would take it past that is set aside, and nothing waits for what is large."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import bson
import pytest
from watchdog import Watchdog
from webhooks_factories import T0, body_of, event

from voice_common.mongo import Database
from voice_common.store.conversations import VERSION
from voice_common.store.envelope import read_envelope
from voice_common.store.events import EventStore, StoredEvent
from voice_common.store.state import CallState
from voice_common.store.tenants import TenantStore
from voice_webhooks.contribution import contribution_of
from voice_webhooks.directory import CachedDirectory
from voice_webhooks.projection import bounds, contributions
from voice_webhooks.projection.projection import Projection
from voice_webhooks.projector import Projector
from voice_webhooks.rebuild import Rebuild
from voice_webhooks.take_over import TakeOver
from voice_webhooks.upgrade import Upgrade
from voice_webhooks.workers import Registration, WorkerStore

TOOL_CALLS = 12_000
"""Of the shortest kind that differ: as many as a body of a mebibyte holds."""

FEW, LITTLE = 120, 40_000
"""Tool calls, and a bound that they reach as soon: what is set aside depends on no size but the ratio of these two."""


def stored(document: dict[str, Any]) -> StoredEvent:
    body = body_of(document)
    assert len(body) < 1024 * 1024
    envelope = read_envelope(body, received_at=T0)
    return StoredEvent("acme", envelope.stream, envelope.event, envelope.type, envelope.occurred_at, T0, "key", body)


def full_of_tool_calls(name: str, session: str = "s1", *, first: int = 0, count: int = TOOL_CALLS) -> StoredEvent:
    """Give an event that tells of `count` tool calls, from number `first` on."""
    calls = [{"id": f"t{number}", "function": {"name": "f"}} for number in range(first, first + count)]
    messages = [{"role": "assistant", "content": "", "tool_calls": calls}]
    return stored(event("call.conversation.ended", T0 + 5, id=name, call_session_id=session, messages=messages))


def full_of_lines(name: str, session: str = "s1") -> StoredEvent:
    messages = [{"role": role, "content": "a word"} for role in ("user", "assistant") * 8000]
    return stored(event("call.conversation.ended", T0 + 5, id=name, call_session_id=session, messages=messages))


def hangup(session: str = "s1") -> StoredEvent:
    return stored(event("call.hangup", T0 + 9, id=f"hangup-{session}", call_session_id=session))


@pytest.fixture
def projection(database: Database, tenants: TenantStore) -> Projection:
    return Projection(database, CachedDirectory(tenants))


@pytest.fixture
def little(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "LARGEST_CALL", LITTLE)


async def call(database: Database, session: str = "s1") -> dict[str, Any]:
    found = await database["conversations"].find_one({"_id": {"tenant": "acme", "session": session}})
    assert found is not None
    return found


async def aside(database: Database) -> dict[str, str]:
    return {document["_id"]["event"]: document["error"] async for document in database["set_aside"].find({})}


async def keep(database: Database, *events: StoredEvent) -> None:
    await database["events"].insert_many([one.to_document("w", seq) for seq, one in enumerate(events, start=1)])


async def rebuild(database: Database, projection: Projection) -> None:
    await Rebuild(database, projection, tenant=None, progress=lambda _phase, _size: None).run()


async def outgrown(database: Database, projection: Projection) -> list[StoredEvent]:
    """Project more about a call than it may hold, and what comes with it; give all of it, in order."""
    large = [full_of_tool_calls(f"e{number}", first=number * FEW, count=FEW) for number in range(5)]
    events = [*large, hangup(), hangup("s2")]
    await keep(database, *events)
    await projection.project(events)
    return events


@pytest.mark.usefixtures("little")
async def test_the_event_that_would_take_a_call_past_its_bound_is_set_aside_and_the_rest_goes_on(
    database: Database, projection: Projection
) -> None:
    await outgrown(database, projection)
    found = await aside(database)
    assert found
    assert found.keys() < {f"e{number}" for number in range(5)}
    assert all(f"a call may have {LITTLE}" in error for error in found.values())
    document = await call(database)
    assert len(document["state"]["tools"]) == FEW * (5 - len(found))
    assert len(bson.encode(document)) <= LITTLE
    assert (document["ended_at"], (await call(database, "s2"))["ended_at"]) == (T0 + 9, T0 + 9)


@pytest.mark.usefixtures("little")
async def test_what_is_parked_has_the_same_bound(database: Database, projection: Projection) -> None:
    for number in range(5):
        large = full_of_tool_calls(f"e{number}", first=number * FEW, count=FEW)
        document = json.loads(large.body)
        payload = document["data"]["payload"]
        payload["call_leg_id"] = payload.pop("call_session_id")
        await projection.project([stored(document)])
    assert await aside(database)
    (parked,) = [document async for document in database["parked"].find({})]
    assert len(bson.encode(parked)) <= LITTLE


@pytest.mark.usefixtures("little")
async def test_a_rebuild_leaves_a_call_of_which_events_are_set_aside_as_it_is(
    database: Database, projection: Projection
) -> None:
    await outgrown(database, projection)
    before, errors = await call(database), await aside(database)
    await rebuild(database, projection)
    assert await call(database) == before
    assert (await aside(database)).keys() == errors.keys()


async def test_a_rebuild_goes_on_past_an_event_that_cannot_be_projected(
    database: Database, projection: Projection, monkeypatch: pytest.MonkeyPatch
) -> None:
    poison = stored(event("call.poison", T0 + 3, id="poison", call_session_id="s1"))
    begun = stored(event("call.initiated", T0, id="begun", call_session_id="s1"))
    events = [begun, poison, hangup(), hangup("s2")]
    await keep(database, *events)

    def fails(envelope: Any, key: str) -> CallState | None:
        if envelope.type == "call.poison":
            raise ZeroDivisionError
        return contribution_of(envelope, key)

    monkeypatch.setattr(contributions, "contribution_of", fails)
    await projection.project(events)
    before = await call(database)
    wrong = {"$set": {"hangup_cause": "wrong"}}
    await database["conversations"].update_one({"_id.session": "s2"}, wrong)
    await database["conversations"].update_one({"_id.session": "s1"}, {"$set": {"version": VERSION - 1}})
    await Upgrade(database).step()
    assert await call(database) == before
    await rebuild(database, projection)
    assert await call(database) == before
    assert (await call(database, "s2"))["hangup_cause"] is None
    (error,) = (await aside(database)).values()
    assert error.startswith("ZeroDivisionError at test_large_calls.py:")


@pytest.mark.usefixtures("little")
async def test_a_call_that_older_code_let_grow_past_the_bound_keeps_what_it_has(
    database: Database, projection: Projection, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as before_the_bound:
        before_the_bound.setattr(bounds, "LARGEST_CALL", 16 * LITTLE)
        await outgrown(database, projection)
    assert await aside(database) == {}
    before = await call(database)
    assert len(bson.encode(before)) > LITTLE
    await database["conversations"].update_many({}, {"$set": {"version": VERSION - 1}})
    assert await Upgrade(database).step() == 2
    assert await call(database) == before


@pytest.mark.parametrize("kind", [full_of_tool_calls, full_of_lines])
async def test_large_calls_keep_no_request_waiting(database: Database, projection: Projection, kind: Any) -> None:
    events = [kind(f"e{number}", f"s{number % 2}") for number in range(4)]
    await keep(database, *events)

    async def project() -> None:
        await asyncio.create_task(projection.project(events))
        await database["conversations"].update_many({}, {"$set": {"version": VERSION - 1}})
        made_again = [await asyncio.create_task(Upgrade(database).step()) for _ in range(3)]
        assert made_again == [1, 1, 0], "calls that are large are made again one by one"

    with Watchdog() as watchdog:
        await watchdog.judge(project)
    assert await aside(database) == {}


async def test_large_events_are_projected_a_few_at_a_time_and_what_is_too_much_for_memory_is_left(
    database: Database, projection: Projection, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = list[int]()
    project = projection.project

    async def noted(events: Any) -> None:
        sizes.append(len(events))
        await project(events)

    monkeypatch.setattr(projection, "project", noted)
    events = [full_of_lines(f"e{number}", f"s{number}") for number in range(5)]
    size = len(events[0].body)
    monkeypatch.setattr("voice_webhooks.projector._BATCH_BYTES", 2 * size)
    monkeypatch.setattr("voice_webhooks.projector._HELD_BYTES", 3 * size)
    monkeypatch.setattr("voice_common.store.events._READ_BYTES", size)
    workers = WorkerStore(database)
    registration = Registration(workers)
    projector = Projector(projection, EventStore(database), workers, registration)
    await registration.renew(0)
    worker = registration.id
    projector.committed(worker, [(n, events[n]) for n in range(3)])
    projector.start()
    await projector.drain()
    assert sizes == [2, 1]
    await keep(database, *events)
    sizes.clear()
    await registration.renew(0)
    numbered = [(n, events[n - 1]) for n in range(1, 6)]
    projector.committed(registration.id, numbered[:2])
    projector.committed(registration.id, numbered[2:])
    assert registration.id == "", "it goes on under a new id"
    await workers.renew("w", 0)
    await workers.end("w")
    take_over = TakeOver(projection.project, EventStore(database), workers)
    while await take_over.step(lambda: asyncio.sleep(0)):
        pass
    assert sizes == [2, 2, 1], "the take-over, too, reads what memory can hold"
    assert await database["conversations"].count_documents({}) == 5
