"""Indexes: made at start by whoever may, and only looked for by whoever may not."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from importlib.metadata import entry_points
from typing import Any

import structlog
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import OperationFailure

from voice_common.mongo import Database

UNAUTHORIZED = 13
_log = structlog.get_logger("voice.indexes")

IndexMaker = Callable[[Database], Awaitable[None]]
"""Makes all indexes of a service; what a package contributes through the entry point ``voice.indexes``."""


async def ensure_index(
    collection: AsyncCollection[dict[str, Any]],
    keys: str | Sequence[tuple[str, int]],
    *,
    name: str,
    **options: Any,  # noqa: ANN401 - as PyMongo's are
) -> None:
    """Make an index where it is missing; safe to repeat.

    Where this user may not make indexes, one that is there already is enough; raises `OperationFailure` without it.
    """
    try:
        await collection.create_index(keys, name=name, **options)
    except OperationFailure as error:
        if error.code != UNAUTHORIZED:
            raise
        if name not in await collection.index_information():
            _log.error("an index is missing: run voice admin init-db", collection=collection.name, index=name)
            raise


async def make_all_indexes(database: Database) -> dict[str, list[str]]:
    """Make the indexes of every service that is installed here; give the names of those that are new, by collection."""
    before = await index_names(database)
    for point in sorted(entry_points(group="voice.indexes"), key=lambda point: point.name):
        make: IndexMaker = point.load()
        await make(database)
    after = await index_names(database)
    made = {name: sorted(indexes - before.get(name, set())) for name, indexes in after.items()}
    return {name: indexes for name, indexes in sorted(made.items()) if indexes}


async def index_names(database: Database) -> dict[str, set[str]]:
    """Give the names of the indexes that are there, by collection."""
    return {
        name: set(await database[name].index_information())
        for name in await database.list_collection_names()
        if not name.startswith("system.")
    }
