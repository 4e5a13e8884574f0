"""MongoDB: one client a process, with time-outs, and transactions that are snapshots."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

import pymongo
from pymongo import AsyncMongoClient, ReadPreference
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import (
    BulkWriteError,
    ConfigurationError,
    ConnectionFailure,
    DuplicateKeyError,
    ExecutionTimeout,
    OperationFailure,
    PyMongoError,
)
from pymongo.read_concern import ReadConcern
from pymongo.write_concern import WriteConcern

Document = Mapping[str, Any]
Client = AsyncMongoClient[dict[str, Any]]
Database = AsyncDatabase[dict[str, Any]]
Session = AsyncClientSession
T = TypeVar("T")
_DUPLICATE = 11000

# A node that ends, starts, steps down or was cut off, and cursors and snapshots that went with it; as the server's
# error_codes.yml names them, from HostUnreachable to NotPrimaryOrSecondary.
_PASSING_CODES = frozenset(
    {6, 7, 43, 89, 91, 134, 189, 237, 246, 262, 290, 9001, 10058, 10107, 11600, 11601, 11602, 13435, 13436}
)
_PASSING_LABELS = ("TransientTransactionError", "UnknownTransactionCommitResult", "RetryableWriteError")

DURABLE = WriteConcern(w="majority", j=True)
SNAPSHOT = ReadConcern("snapshot")


def connect(url: str, *, timeout_seconds: float, max_pool_size: int = 50) -> Client:
    """Make a client whose every operation ends within `timeout_seconds`; it connects at its first use.

    Writes are durable (majority, journaled); reads see only what a majority has.
    """
    # Not at the top: a process that forks services imports this module, and must not import what keeps metrics.
    from voice_common.telemetry.mongo import listeners  # noqa: PLC0415 - see above

    return AsyncMongoClient(
        url,
        appname="voice",
        event_listeners=listeners(),
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


def is_passing(error: BaseException) -> bool:
    """Tell whether the store's state, and not what it was asked, is why an operation failed: later it may do.

    A node that has just started says that it knows no sessions: PyMongo makes a `ConfigurationError` of it.
    """
    return isinstance(error, PyMongoError) and (
        isinstance(error, ConnectionFailure | ExecutionTimeout | ConfigurationError)
        or error.timeout
        or any(error.has_error_label(label) for label in _PASSING_LABELS)
        or (isinstance(error, OperationFailure) and error.code in _PASSING_CODES)
    )


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
