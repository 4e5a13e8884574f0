"""On a MongoDB that asks for passwords each service does its work with its own rights, and has no others."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import aiohttp
import pytest
from e2e_factories import RunningStack, World, open_database, start_stack, until
from pymongo.errors import OperationFailure
from voice_command import Voice

from voice_common.mongo import Database
from voice_common.store.access import COLLECTIONS, ROLES, rights_of
from voice_common.store.indexes import UNAUTHORIZED
from voice_local.servers import free_port
from voice_local.simulation.delivery import planned
from voice_local.simulation.oracle import metrics
from voice_local.store_users import StoreUsers

NOBODY = {"_id": {"tenant": "nobody"}}
DOINGS: dict[str, Callable[[Any], Awaitable[Any]]] = {
    "r": lambda collection: collection.find_one(NOBODY),
    "i": lambda collection: collection.insert_one(dict(NOBODY)),
    "u": lambda collection: collection.update_one(NOBODY, {"$set": {"x": 1}}),
    "d": lambda collection: collection.delete_one(NOBODY),
}


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    running = start_stack(tmp_path_factory.mktemp("guarded") / "data", free_port(), "--no-demo", "--auth")
    try:
        running.wait_for("ready")
        yield running
    finally:
        running.stop()


@pytest.fixture
async def world(guarded: RunningStack) -> AsyncIterator[World]:
    database = open_database(guarded.described()["mongo_url"])
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as session:
        yield World(guarded, database, session)
    await database.client.close()


@pytest.fixture(params=ROLES)
async def role(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def as_role(guarded: RunningStack, role: str) -> AsyncIterator[Database]:
    users = StoreUsers(guarded.directory.store_passwords(), "voice")
    port = int(guarded.described()["mongo_url"].split("/?")[0].rsplit(":", 1)[1])
    database = open_database(users.url(port, role))
    yield database
    await database.client.close()


async def is_refused(doing: Awaitable[Any]) -> bool:
    try:
        await doing
    except OperationFailure as error:
        if error.code != UNAUTHORIZED:
            raise
        return True
    return False


async def test_figures_are_the_oracles_where_each_service_has_its_own_user(world: World) -> None:
    (customer,) = await world.customer()
    calls = world.calls_of(customer, count=30)
    await world.send(planned(calls, shuffle=True, duplicates=0.2, seed=5))

    async def equal() -> bool:
        return bool(
            (await world.fresh("/api/voice/analytics/detailed", customer))["metrics"].items() >= metrics(calls).items()
        )

    await until(equal)
    listed = await world.fresh("/api/conversations", customer)
    call = listed["conversations"][0]["id"]
    assert listed["total"] == 30
    assert (await world.get(f"/api/conversations/{call}/messages", customer)).status == 200
    assert (await world.get(f"/api/voice/recordings/{call}", customer)).status in {200, 404}
    assert set(await world.database.list_collection_names()) <= COLLECTIONS.keys()


async def test_a_role_may_do_what_the_table_says_and_nothing_else(as_role: Database, role: str) -> None:
    for name in COLLECTIONS:
        rights = rights_of(role, name)
        for letter, doing in DOINGS.items():
            if letter in "id" and letter in rights:
                continue  # what may be done needs no trace here
            assert await is_refused(doing(as_role[name])) == (letter not in rights), f"{role}: {letter} of {name}"


@pytest.mark.parametrize("service", ["gateway", "webhooks", "analytics", "recordings"])
async def test_doctor_finds_nothing_wrong_where_a_service_runs_with_its_own_rights(
    guarded: RunningStack, service: str
) -> None:
    directory, described = guarded.directory, guarded.described()
    users = StoreUsers(directory.store_passwords(), "voice")
    port = int(described["mongo_url"].split("/?")[0].rsplit(":", 1)[1])
    keys = directory.keys()
    of_its_pod = {
        "VOICE_MONGO_URL": users.url(port, service),
        "VOICE_REDIS_URL": described["redis_url"],
        "VOICE_IDENTITY_PRIVATE_KEY": keys.identity,
        "VOICE_IDENTITY_PUBLIC_KEYS": keys.identity_public,
        "VOICE_TELNYX_PUBLIC_KEYS": keys.telnyx_public,
    }
    findings = (await Voice(of_its_pod).json("doctor", "--service", service))["findings"]
    # Its replica set has one member, and its user may not read the server's parameters.
    expected = {"MongoDB replica set": "warning", "MongoDB transactions": "warning"}
    assert {each["check"]: each["outcome"] for each in findings if each["outcome"] != "ok"} == expected, findings


async def test_nobody_drops_a_collection_or_the_database(as_role: Database) -> None:
    for name in COLLECTIONS:
        assert await is_refused(as_role[name].drop())
    assert await is_refused(as_role.client.drop_database("voice"))


async def test_without_a_password_nothing_is_read(guarded: RunningStack) -> None:
    port = int(guarded.described()["mongo_url"].split("/?")[0].rsplit(":", 1)[1])
    stranger = open_database(f"mongodb://127.0.0.1:{port}/?replicaSet=rs0")
    assert await is_refused(stranger["api_tokens"].find_one())
    await stranger.client.close()
