"""An event that can't be projected is set aside and shown, and goes once newer code can project it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from pymongo.errors import ConfigurationError, OperationFailure
from voice_command import Voice
from webhooks_factories import T0, Service, Signer, body_of, event, start_service, until

from voice_common.mongo import Database
from voice_common.store.events import StoredEvent
from voice_common.store.state import CallState
from voice_common.store.tenants import TenantStore
from voice_local.servers import Server
from voice_webhooks import set_aside
from voice_webhooks.contribution import contribution_of
from voice_webhooks.directory import CachedDirectory
from voice_webhooks.projection import contributions, projection
from voice_webhooks.projection.projection import Projection
from voice_webhooks.set_aside import CODE, SetAside


@pytest.fixture
async def voice(
    mongo_server: Server,
    database: Database,
    tenants: TenantStore,  # noqa: ARG001 - there is a tenant
) -> Voice:
    return Voice({"VOICE_MONGO_URL": mongo_server.url, "VOICE_MONGO_DATABASE": database.name})


def fails(envelope: Any, key: str) -> CallState | None:
    """Project as ever, but raise for an event of one type, as code with a flaw in it does."""
    if envelope.type == "call.poison":
        raise ZeroDivisionError
    return contribution_of(envelope, key)


@asynccontextmanager
async def running(database: Database, mongo_url: str, signer: Signer) -> AsyncIterator[Service]:
    service, stop = await start_service(database, mongo_url, signer)
    yield service
    await stop()


async def poisoned(service: Service) -> None:
    """Send a call with a poison event in its middle; wait until the others count."""
    ids: dict[str, Any] = {"connection_id": "1001", "call_session_id": "s1"}
    for kind in ("call.initiated", "call.poison", "call.hangup"):
        assert await service.status(event(kind, id=f"{kind}-1", **ids)) == "accepted"

    async def goes_on() -> bool:
        call = await service.conversation("s1")
        aside = await service.database["set_aside"].count_documents({})
        return call is not None and call["ended_at"] is not None and aside == 1

    await until(goes_on)


async def test_a_poison_event_is_shown_with_its_error_and_projected_once_a_service_starts_that_can(
    database: Database, mongo_server: Server, voice: Voice, signer: Signer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as flawed:
        flawed.setattr(contributions, "contribution_of", fails)
        async with running(database, mongo_server.url, signer) as service:
            await poisoned(service)
        (row,) = (await voice.json("events", "list", "acme", "--set-aside"))["events"]
        assert (row["event"], row["type"]) == ("call.poison-1", "call.poison")
        assert row["error"].startswith("ZeroDivisionError at test_set_aside.py:")
        async with running(database, mongo_server.url, signer):  # a start without a remedy changes nothing
            await until(lambda: database["set_aside"].find_one({"at": {"$gt": row["at"]}}))
    async with running(database, mongo_server.url, signer):
        await until(lambda: _empty(database))
    assert (await voice.json("events", "list", "acme", "--set-aside"))["events"] == []


async def test_a_replay_projects_what_was_set_aside(
    database: Database, mongo_server: Server, voice: Voice, signer: Signer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as flawed:
        flawed.setattr(contributions, "contribution_of", fails)
        async with running(database, mongo_server.url, signer) as service:
            await poisoned(service)
        await voice.json("events", "replay", "acme")
        assert not await _empty(database), "it still can't be projected"
    await voice.json("events", "replay", "acme")
    assert await _empty(database)


async def test_what_other_code_has_set_aside_is_tried_again_while_running(
    database: Database, tenants: TenantStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    projection, aside = Projection(database, CachedDirectory(tenants)), SetAside(database)
    codes = (CODE, "0.0.1/1")
    for code in codes:
        with monkeypatch.context() as other:
            other.setattr(set_aside, "CODE", code)
            await aside.keep(_stored(code), ValueError(code))
    await database["events"].insert_many(
        [_stored(code).to_document("w", n) for n, code in enumerate((CODE, "0.0.1/1"))]
    )
    assert await aside.retry(projection.project_again, {"code": {"$ne": CODE}}) == 1
    assert [document["code"] async for document in database["set_aside"].find({})] == [CODE]
    await database["events"].delete_many({})
    assert await aside.retry(projection.project_again, {}) == 1
    assert await _empty(database), "an event that is not kept any more is not aside either"


def _stored(name: str) -> StoredEvent:
    body = body_of(event("call.initiated", id=name, call_session_id="s1"))
    return StoredEvent("acme", "session:s1", name, "call.initiated", T0, T0, "key", body)


async def _empty(database: Database) -> bool:
    return await database["set_aside"].count_documents({}) == 0


@pytest.mark.parametrize("error", [ConfigurationError("no sessions"), OperationFailure("not authorized", 13)], ids=str)
async def test_what_the_store_is_to_blame_for_sets_no_event_aside(
    database: Database, tenants: TenantStore, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    async def refused(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(projection, "in_transaction", refused)
    with pytest.raises(type(error)):
        await Projection(database, CachedDirectory(tenants)).project([_stored("e1")])
    assert await _empty(database)
