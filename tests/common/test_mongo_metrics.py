"""Commands to MongoDB are timed by their name, connections counted, and a command that fails is both."""

from __future__ import annotations

import asyncio

import pymongo
import pytest
from prometheus_client import REGISTRY
from pymongo.errors import OperationFailure, PyMongoError

from voice_common.mongo import Database, connect
from voice_common.telemetry.tally import TALLY
from voice_local.servers import Server


def value(name: str, **labels: str) -> float:
    TALLY.flush()
    return REGISTRY.get_sample_value(f"voice_mongo_{name}", labels) or 0.0


async def test_a_command_is_timed_by_its_name_and_an_unusual_one_as_other(database: Database) -> None:
    finds, others = value("command_seconds_count", command="find"), value("command_seconds_count", command="other")
    took = value("command_seconds_sum", command="find")
    await database["things"].find_one({"$where": "sleep(30) || true"})
    await database["things"].insert_one({})
    await database["things"].find_one({"$where": "sleep(30) || true"})
    await database.command("dbStats")
    assert value("command_seconds_count", command="find") == finds + 2
    assert value("command_seconds_count", command="other") == others + 1
    assert 0.03 <= value("command_seconds_sum", command="find") - took < 5


async def test_a_command_that_fails_is_timed_and_counted(database: Database) -> None:
    timed, failed = value("command_seconds_count", command="find"), value("command_failures_total", command="find")
    with pytest.raises(OperationFailure):
        await database["things"].find_one({"$nonsense": 1})
    assert value("command_seconds_count", command="find") == timed + 1
    assert value("command_failures_total", command="find") == failed + 1


async def test_connections_are_counted_while_they_are_open_and_in_use(mongo_server: Server) -> None:
    before = value("pool_connections", state="open"), value("pool_connections", state="in_use")
    waits = value("pool_wait_seconds_count")
    client = connect(mongo_server.url, timeout_seconds=5)
    async with client.start_session() as session:
        async with await session.start_transaction():
            await client["test"]["things"].find_one({}, session=session)
        assert value("pool_connections", state="open") == before[0] + 1
    await client.close()
    assert (value("pool_connections", state="open"), value("pool_connections", state="in_use")) == before
    assert value("pool_wait_seconds_count") > waits


async def test_a_command_that_gets_no_connection_is_counted(mongo_server: Server, database: Database) -> None:
    await database["things"].insert_one({})
    failures = value("pool_failures_total")
    client = connect(mongo_server.url, timeout_seconds=5, max_pool_size=1)
    things = client[database.name]["things"]
    await things.find_one({})
    slow = asyncio.create_task(things.find_one({"$where": "sleep(600) || true"}))
    await asyncio.sleep(0)  # the only connection is taken in this turn
    with pytest.raises(PyMongoError), pymongo.timeout(0.2):
        await things.find_one({})
    assert value("pool_failures_total") == failures + 1
    await slow
    await client.close()
