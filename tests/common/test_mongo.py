"""Transactions run again on a new snapshot; an operation on a store that is down ends in time."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

import pymongo
import pytest
from pymongo.errors import (
    AutoReconnect,
    BulkWriteError,
    ConfigurationError,
    DuplicateKeyError,
    OperationFailure,
    PyMongoError,
    ServerSelectionTimeoutError,
)

from voice_common.mongo import Client, Database, Session, connect, in_transaction, is_passing, ping
from voice_local.servers import free_port


@pytest.mark.parametrize("many", [False, True], ids=["insert_one", "insert_many"])
async def test_what_another_writer_made_meanwhile_is_met_on_a_new_snapshot(
    database: Database,
    many: bool,  # noqa: FBT001 - a table
) -> None:
    things = database["things"]
    await things.insert_one({"_id": "other"})
    attempts = []

    async def body(session: Session) -> str:
        attempts.append(await things.find_one({"_id": "a"}, session=session))
        if attempts[-1] is not None:
            return "met"
        await things.insert_one({"_id": "a", "by": "another"})
        if many:
            await things.insert_many([{"_id": "b"}, {"_id": "a"}], session=session)
        else:
            await things.insert_one({"_id": "a"}, session=session)
        return "made"

    assert await in_transaction(database.client, body) == "met"
    assert attempts == [None, {"_id": "a", "by": "another"}]
    assert await things.count_documents({}) == 2


async def test_a_body_that_raises_leaves_nothing(database: Database) -> None:
    things = database["things"]
    await things.insert_one({"_id": "other"})

    async def body(session: Session) -> None:
        await things.insert_one({"_id": "a"}, session=session)
        raise KeyError

    with pytest.raises(KeyError):
        await in_transaction(database.client, body)
    assert await things.count_documents({}) == 1


async def test_a_transaction_reads_one_snapshot(database: Database) -> None:
    things = database["things"]
    await things.insert_one({"_id": 0})

    async def body(session: Session) -> list[int]:
        first = await things.count_documents({}, session=session)
        await things.insert_one({"_id": 1})
        return [first, await things.count_documents({}, session=session)]

    assert await in_transaction(database.client, body) == [1, 1]


async def test_another_bulk_error_is_raised_at_once(database: Database) -> None:
    await database.create_collection("things", validator={"good": True})

    async def body(session: Session) -> None:
        await database["things"].insert_many([{"_id": 1}], session=session)

    with pytest.raises((BulkWriteError, OperationFailure)) as refused:
        await in_transaction(database.client, body)
    assert not isinstance(refused.value, DuplicateKeyError)


@pytest.fixture
async def _transactions_that_nobody_ends_live_a_second(mongo_client: Client) -> AsyncIterator[None]:
    async def limit(seconds: int) -> int:
        told = await mongo_client.admin.command({"setParameter": 1, "transactionLifetimeLimitSeconds": seconds})
        return int(told["was"])

    before = await limit(1)
    yield
    await limit(before)


@pytest.mark.usefixtures("_transactions_that_nobody_ends_live_a_second")
async def test_a_transaction_that_never_wins_ends_in_its_time(database: Database) -> None:
    things = database["things"]
    await things.insert_one({"_id": "a", "n": 0})

    async def body(session: Session) -> None:
        await things.find_one({"_id": "a"}, session=session)
        await things.update_one({"_id": "a"}, {"$inc": {"n": 1}})
        await things.update_one({"_id": "a"}, {"$inc": {"n": 1}}, session=session)

    started = time.monotonic()
    with pytest.raises(PyMongoError):
        await in_transaction(database.client, body, seconds=0.5)
    assert time.monotonic() - started < 5
    with pymongo.timeout(20):  # what it held is free at last: the server ends a transaction that nobody goes on with
        await things.update_one({"_id": "a"}, {"$set": {"n": -1}})
        assert await things.find_one({"_id": "a"}) == {"_id": "a", "n": -1}
        await things.drop()  # which waits for a transaction that has only read, too


async def test_an_operation_on_a_store_that_is_down_ends_in_time() -> None:
    client = connect(f"mongodb://127.0.0.1:{free_port()}/?replicaSet=rs0", timeout_seconds=0.5)
    started = time.monotonic()
    with pytest.raises(PyMongoError):
        await ping(client["voice"])
    assert time.monotonic() - started < 1.5
    await client.close()


@pytest.mark.parametrize(
    ("error", "passing"),
    [
        (AutoReconnect("gone"), True),
        (ServerSelectionTimeoutError("nobody"), True),
        (ConfigurationError("Sessions are not supported by this MongoDB deployment"), True),
        (OperationFailure("stepped down", 189), True),
        (OperationFailure("conflict", 112, {"errorLabels": ["TransientTransactionError"]}), True),
        (OperationFailure("took too long", 50), True),
        (OperationFailure("not authorized", 13), False),
        (OperationFailure("document too large", 10334), False),
        (DuplicateKeyError("there"), False),
        (ValueError("no store at all"), False),
    ],
    ids=str,
)
def test_what_the_stores_state_is_to_blame_for_may_be_tried_again(
    error: Exception,
    passing: bool,  # noqa: FBT001 - a table
) -> None:
    assert is_passing(error) is passing
