"""MongoDB: one client a process, with time-outs, and transactions that are snapshots."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

import pymongo
from pymongo import AsyncMongoClient, ReadPreference
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import BulkWriteError, DuplicateKeyError
from pymongo.read_concern import ReadConcern
from pymongo.write_concern import WriteConcern

Document = Mapping[str, Any]
Client = AsyncMongoClient[dict[str, Any]]
Database = AsyncDatabase[dict[str, Any]]
Session = AsyncClientSession
T = TypeVar("T")
_DUPLICATE = 11000

DURABLE = WriteConcern(w="majority", j=True)
MAJORITY = ReadConcern("majority")
SNAPSHOT = ReadConcern("snapshot")


def connect(url: str, *, timeout_seconds: float, max_pool_size: int = 50) -> Client:
    """Make a client whose every operation ends within `timeout_seconds`; it connects at its first use.

    Writes are durable (majority, journaled); reads see only what a majority has.
    """
    return AsyncMongoClient(
        url,
        appname="voice",
        connectTimeoutMS=int(min(timeout_seconds, 2) * 1000),
        serverSelectionTimeoutMS=int(timeout_seconds * 1000),
        timeoutMS=int(timeout_seconds * 1000),
        maxPoolSize=max_pool_size,
        w="majority",
        journal=True,
        readConcernLevel="majority",
        retryReads=True,
        retryWrites=True,
    )


async def ping(database: Database) -> None:
    """Raise unless a primary answers."""
    await database.client.admin.command("ping", read_preference=ReadPreference.PRIMARY)


async def in_transaction(client: Client, body: Callable[[Session], Awaitable[T]], *, seconds: float = 10.0) -> T:
    """Run `body` in one snapshot transaction and commit it durably.

    `body` runs again, on a new snapshot, when another transaction wrote what it wrote; so it must have no effect
    but its reads and writes in the session. Raises what PyMongo raises once `seconds` are over.
    """
    with pymongo.timeout(seconds):
        while True:
            async with client.start_session() as session:
                try:
                    return await session.with_transaction(
                        body, read_concern=SNAPSHOT, write_concern=DURABLE, read_preference=ReadPreference.PRIMARY
                    )
                except (DuplicateKeyError, BulkWriteError) as error:
                    if isinstance(error, BulkWriteError) and not _met_a_duplicate(error):
                        raise
                    # Two transactions made the same new document: the server calls one a duplicate, not a
                    # conflict. On a new snapshot it is there to be read and joined with.
                    continue


def _met_a_duplicate(error: BulkWriteError) -> bool:
    return any(refused["code"] == _DUPLICATE for refused in error.details["writeErrors"])
