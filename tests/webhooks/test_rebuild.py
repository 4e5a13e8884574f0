from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from voice_command import Voice
from webhooks_factories import T0, Service, event, until

from voice_common.mongo import Database, Session, in_transaction
from voice_common.store.conversations import VERSION, conversation_document
from voice_common.store.events import StoredEvent
from voice_common.store.state import CallState
from voice_common.store.tenants import TenantStore
from voice_common.times import HOUR_MS
from voice_local.servers import Server
from voice_webhooks.directory import CachedDirectory
from voice_webhooks.projection.apply import Batch
from voice_webhooks.projection.language import is_english
from voice_webhooks.projection.projection import Projection
from voice_webhooks.rebuild import Rebuild, Rebuilt
from voice_webhooks.upgrade import Upgrade

MODELS = ("conversations", "parked", "aliases")


@pytest.fixture
def voice(mongo_server: Server, database: Database) -> Voice:
    return Voice({"VOICE_MONGO_URL": mongo_server.url, "VOICE_MONGO_DATABASE": database.name})


async def until_equal(look: Callable[[], Awaitable[object]], wanted: object) -> None:
    async def equal() -> bool:
        return await look() == wanted

    await until(equal)


async def models(database: Database) -> dict[str, list[dict[str, Any]]]:
    return {name: await database[name].find({}).sort("_id", 1).to_list() for name in MODELS}


async def rebuild(database: Database) -> Rebuilt:
    projection = Projection(database, CachedDirectory(TenantStore(database)))
    return await Rebuild(database, projection, tenant=None, progress=lambda _phase, _size: None).run()


async def some_calls(service: Service) -> None:
    """Send calls with parked events, ties over two steps, and an id that two sessions share."""
    rng = random.Random(11)  # noqa: S311 - an order, no secret
    events = []
    for number in range(12):
        ids = {"call_session_id": f"s{number}", "call_leg_id": f"l{number}"}
        events += [
            event("call.initiated", T0 + number, connection_id="1001", **ids),
            event("call.answered", T0 + number + 5, connection_id="1001", call_control_id=f"c{number}", **ids),
            event(
                "call.cost", T0 + number + 9, connection_id="1001", call_control_id=f"c{number}", conversation_id="v"
            ),
            event("call.hangup", T0 + number + 8, connection_id="1001", call_leg_id=f"l{number}"),
            event(
                "ai.assistant.ended", T0 + number + 7, connection_id="1001", conversation_id="v", sentiment="positive"
            ),
        ]
    rng.shuffle(events)
    await asyncio.gather(*(service.status(document) for document in events))

    async def projected() -> bool:
        return await service.database["conversations"].count_documents({"phase": "completed"}) == 12

    await until(projected)


async def test_a_rebuild_of_what_is_right_changes_nothing(service: Service) -> None:
    await some_calls(service)
    before = await models(service.database)
    rebuilt = await rebuild(service.database)
    assert rebuilt.events == 60
    assert not any(rebuilt.corrected.values())
    assert await models(service.database) == before


async def test_read_models_that_were_dropped_come_back_identical(service: Service) -> None:
    await some_calls(service)
    before = await models(service.database)
    for name in MODELS:
        await service.database[name].delete_many({})
    await rebuild(service.database)
    assert await models(service.database) == before


async def test_what_does_not_belong_is_taken_away_and_its_hours_are_marked(service: Service) -> None:
    await some_calls(service)
    before = await models(service.database)
    database = service.database
    await database["dirty_hours"].delete_many({})
    wrong = {**before["conversations"][0], "duration_ms": 99, "started_at": T0 - 86_400_000}
    await database["conversations"].replace_one({"_id": wrong["_id"]}, wrong)
    stranger = {**wrong, "_id": {"tenant": "acme", "session": "never-was"}}
    await database["conversations"].insert_one(stranger)
    await database["aliases"].insert_one(
        {"_id": {"tenant": "acme", "id": "leg:x"}, "sessions": ["never-was"], "parked": []}
    )
    rebuilt = await rebuild(database)
    assert rebuilt.corrected["conversations"] == 1, "the stranger; the other was put right by its next projection"
    assert await models(database) == before
    marked = {mark["_id"]["hour"] async for mark in database["dirty_hours"].find({})}
    assert marked >= {T0, T0 - 86_400_000}


async def test_an_interrupted_rebuild_goes_on_where_it_stopped(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    await some_calls(service)
    before = await models(service.database)
    correct = Rebuild._correct

    async def interrupted(self: Rebuild, collection: str, after: Any) -> None:
        if collection == "parked":
            raise KeyboardInterrupt
        await correct(self, collection, after)

    monkeypatch.setattr(Rebuild, "_correct", interrupted)
    with pytest.raises(KeyboardInterrupt):
        await rebuild(service.database)
    monkeypatch.setattr(Rebuild, "_correct", correct)
    rebuilt = await rebuild(service.database)
    assert rebuilt.events == 0, "the events had been projected before it was interrupted"
    assert await models(service.database) == before
    assert await service.database["meta"].count_documents({"_id": "rebuild:*"}) == 0


async def test_what_older_code_made_is_made_again_in_the_background(service: Service) -> None:
    await some_calls(service)
    before = await models(service.database)
    older = {"$set": {"version": VERSION - 1, "state.started_at": 1, "started_at": 1, "phase": "open"}}
    await service.database["conversations"].update_many({}, older)
    await service.database["parked"].update_many({}, {"$set": {"version": VERSION - 1, "state.started_at": 1}})

    async def equal() -> bool:
        return await models(service.database) == before

    await until(equal, seconds=15)


async def newer_call(service: Service, name: str) -> None:
    """Begin a call and let newer code have made its document."""
    await service.status(event("call.initiated", connection_id="1001", call_session_id=name))
    await until(lambda: service.conversation(name))
    await service.database["conversations"].update_one({"_id.session": name}, {"$set": {"version": VERSION + 1}})


def answered(service: Service, name: str) -> Callable[[], Awaitable[bool]]:
    async def look() -> bool:
        document = await service.conversation(name)
        return document is not None and document["answered_at"] is not None

    return look


async def test_what_newer_code_made_is_left_to_it_and_all_else_goes_on(service: Service) -> None:
    await newer_call(service, "s1")
    kinds = [("call.answered", "s1"), *(("call.answered", f"other-{n}") for n in range(20)), ("call.hangup", "s1")]
    await asyncio.gather(
        *(service.status(event(kind, connection_id="1001", call_session_id=name)) for kind, name in kinds)
    )
    for n in range(20):
        await until(answered(service, f"other-{n}"))
    document = await service.conversation("s1")
    assert document is not None
    assert (document["version"], document["answered_at"]) == (VERSION + 1, None)

    async def left() -> list[tuple[str, int]]:
        found = service.database["set_aside"].find({}).sort("type", 1)
        return [(each["type"], each["needs"]) async for each in found]

    await until_equal(left, [("call.answered", VERSION + 1), ("call.hangup", VERSION + 1)])
    # The upgrade goes on: a worker of the code that made it takes what was left.
    await service.database["conversations"].update_many({}, {"$set": {"version": VERSION}})
    await service.database["set_aside"].update_many({}, {"$set": {"needs": VERSION}})
    await until(answered(service, "s1"))
    await until_equal(left, [])


async def test_an_event_that_is_tied_to_a_call_of_newer_code_is_left_to_it(service: Service) -> None:
    begun = event("call.initiated", connection_id="1001", call_session_id="s1", call_leg_id="l1")
    await service.status(begun)
    await until(lambda: service.conversation("s1"))
    await service.database["conversations"].update_one({}, {"$set": {"version": VERSION + 1}})
    await service.status(event("call.answered", connection_id="1001", call_leg_id="l1"))
    await service.status(event("call.answered", connection_id="1001", call_session_id="s2"))
    await until(answered(service, "s2"))

    async def left() -> list[str]:
        return [each["_id"]["stream"] async for each in service.database["set_aside"].find({})]

    await until_equal(left, ["leg:l1"])
    document = await service.conversation("s1")
    assert document is not None
    assert document["version"] == VERSION + 1


async def test_a_rebuild_leaves_newer_documents_unless_it_is_told_to_replace_them(
    service: Service, voice: Voice
) -> None:
    await some_calls(service)
    before = await models(service.database)
    own = {"ids": "$state.ids", "started_at": "$state.started_at", "legs": "of its own form"}
    for name in ("conversations", "parked"):
        change: list[dict[str, Any]] = [
            {"$set": {"version": VERSION + 1, "newer_state": own}},
            {"$unset": "state"},
            {"$set": {"state": "$newer_state"}},
        ]
        await service.database[name].update_many({}, change)
    left = await models(service.database)
    rebuilt = await voice.json("rebuild")
    assert (rebuilt["events"], rebuilt["left_to_newer"]) == (60, len(left["conversations"]) + len(left["parked"]))
    kept = await models(service.database)
    assert (kept["conversations"], kept["parked"]) == (left["conversations"], left["parked"])
    rebuilt = await voice.json("rebuild", "--replace-newer")
    assert rebuilt["left_to_newer"] == 0
    assert await models(service.database) == before
    assert await service.database["set_aside"].count_documents({}) == 0


async def test_calls_of_older_code_are_made_again_in_portions_that_a_transaction_bears(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Five events a transaction here; 2,000 in production, where 500 calls of 170 lines were too much for one."""
    await some_calls(service)
    before = await models(service.database)
    for module in ("projection.states", "corrections"):
        monkeypatch.setattr(f"voice_webhooks.{module}.RECOMPUTED_EVENTS", 5)
    older = {"$set": {"version": VERSION - 1, "state.started_at": 1, "started_at": 1, "phase": "open"}}
    await service.database["conversations"].update_many({}, older)
    stored = await service.database["events"].find({}).sort("_id", 1).to_list()
    projection = Projection(service.database, CachedDirectory(TenantStore(service.database)))
    await projection.project([StoredEvent.from_document(document) for document in stored])
    assert (await models(service.database))["conversations"] == before["conversations"]
    await service.database["conversations"].update_many({}, {"$set": {"duration_ms": 1}})
    await rebuild(service.database)
    assert await models(service.database) == before


async def test_a_call_that_goes_on_is_made_again_before_those_that_have_ended(database: Database) -> None:
    for number in range(120):
        state = CallState(started_at=T0, newest_at=T0, answered_at=T0)
        document = conversation_document("acme", f"s{number:03}", state, is_english)
        phase = "open" if number == 111 else "completed"
        await database["conversations"].insert_one({**document, "version": VERSION - 1, "phase": phase})
    await Upgrade(database).step()
    again = [found["_id"]["session"] async for found in database["conversations"].find({"version": VERSION})]
    assert again == ["s111"]


async def test_a_parked_state_that_is_deleted_while_it_is_made_again_ends_nothing(database: Database) -> None:
    async def body(session: Session) -> None:
        await Batch(database, session, "upgrade").refresh([("acme", "gone")], [("acme", "leg:gone")])

    await in_transaction(database.client, body)
    assert await database["parked"].count_documents({}) == 0


async def test_documents_that_can_not_be_made_again_now_keep_no_other_from_it(service: Service) -> None:
    """A parked state that is tied to a call of newer code waits; what else older code made is made again."""
    await some_calls(service)
    database = service.database
    await database["conversations"].update_one({"_id.session": "s3"}, {"$set": {"version": VERSION + 1}})
    await database["parked"].update_many({}, {"$set": {"version": VERSION - 1}})
    await database["conversations"].update_many({"version": VERSION}, {"$set": {"version": VERSION - 1}})

    async def older() -> set[str]:
        found = database["conversations"].find({"version": {"$lt": VERSION}})
        return {document["_id"]["session"] async for document in found}

    await until_equal(older, set())


async def test_a_rebuild_marks_no_hour_of_a_day_that_is_none(service: Service) -> None:
    await service.database["rollups"].insert_one({"_id": {"tenant": "acme", "day": -1}})
    await service.database["rollups"].insert_one({"_id": {"tenant": "acme", "day": 0}})
    await rebuild(service.database)
    marked = {mark["_id"]["hour"] async for mark in service.database["dirty_hours"].find({})}
    assert marked == {hour * HOUR_MS for hour in range(24)}
