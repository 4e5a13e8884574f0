from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest
from webhooks_factories import T0, Service, event, until

from voice_common.mongo import Database
from voice_common.store.conversations import VERSION
from voice_common.store.events import StoredEvent
from voice_common.store.tenants import TenantStore
from voice_webhooks.directory import CachedDirectory
from voice_webhooks.projection.apply import NewerVersionError
from voice_webhooks.projector import Projection
from voice_webhooks.rebuild import Rebuild, Rebuilt

MODELS = ("conversations", "parked", "aliases")


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
    step = Rebuild._correct_parked

    async def interrupted(_self: Rebuild, _after: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Rebuild, "_correct_parked", interrupted)
    with pytest.raises(KeyboardInterrupt):
        await rebuild(service.database)
    monkeypatch.setattr(Rebuild, "_correct_parked", step)
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


async def test_what_newer_code_made_is_left_to_it(service: Service) -> None:
    await service.status(event("call.initiated", connection_id="1001", call_session_id="s1"))
    await until(lambda: service.conversation("s1"))
    newer = {"$set": {"version": VERSION + 1}}
    await service.database["conversations"].update_many({}, newer)
    await service.status(event("call.answered", connection_id="1001", call_session_id="s1"))
    stored = await service.database["events"].find({}).sort("_id", 1).to_list()
    with pytest.raises(NewerVersionError):
        await Projection(service.database, CachedDirectory(TenantStore(service.database))).project(
            [StoredEvent.from_document(document) for document in stored]
        )
    document = await service.conversation("s1")
    assert document is not None
    assert (document["version"], document["answered_at"]) == (VERSION + 1, None)
    await service.database["conversations"].update_many({}, {"$set": {"version": VERSION}})

    async def answered() -> bool:
        document = await service.conversation("s1")
        return document is not None and document["answered_at"] is not None

    await until(answered)
