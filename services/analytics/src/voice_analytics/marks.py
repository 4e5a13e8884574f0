"""The collection ``dirty_hours``, as analytics takes marks off it: never more at a time than a transaction bears.

A mark says that the calls of an hour changed after the hour's sums were made. Who recomputes the hour in a transaction
deletes exactly the marks of its snapshot. An hour that has very many is thinned out first: one mark says as much as a
thousand, as long as the hour has it until the hour is recomputed on a snapshot that has seen what the others stood for.
"""

from __future__ import annotations

from typing import Any

from voice_analytics.cover import Span
from voice_common.mongo import Database, Session, in_transaction
from voice_common.store.indexes import ensure_index
from voice_common.times import HOUR_MS

DIRTY_HOURS = "dirty_hours"
MARKS_AT_ONCE = 10_000
"""Marks that one transaction deletes: a fifth of a second, of the 5 that it may last."""


def keys_between(place: str, tenant: str, period: Span) -> dict[str, Any]:
    """Select the keys ``{tenant, <place>: …}`` in a period: sub-documents compare field by field, in their order."""
    return {"$gte": {"tenant": tenant, place: period.start}, "$lt": {"tenant": tenant, place: period.end}}


async def create_mark_indexes(database: Database) -> None:
    """Make ``dirty_hours`` and its index; safe to repeat."""
    # A transaction that makes a collection locks more than one that finds it, and conflicts with its like.
    await ensure_index(database[DIRTY_HOURS], [("_id.tenant", 1), ("_id.hour", 1)], name="by_hour")


async def dirty_hours(database: Database, session: Session, tenant: str, period: Span) -> set[int]:
    """Give the starts of the hours that have marks and lie in `period`, which begins with an hour.

    Its cost grows with those hours, not with their marks: by its index the server steps from one to the next.
    """
    chosen = {"_id.tenant": tenant, "_id.hour": {"$gte": period.start, "$lt": period.end}}
    return set(await database[DIRTY_HOURS].distinct("_id.hour", chosen, session=session))


async def has_many_marks(database: Database, session: Session, tenant: str, period: Span) -> bool:
    """Tell whether a period has more marks than one transaction takes away."""
    chosen = {"_id": keys_between("hour", tenant, period)}
    return await database[DIRTY_HOURS].count_documents(chosen, limit=MARKS_AT_ONCE + 1, session=session) > MARKS_AT_ONCE


async def forget_marks(database: Database, session: Session, tenant: str, period: Span) -> None:
    """Take away the marks of a period; in a transaction that is those of its snapshot, and no later one."""
    await database[DIRTY_HOURS].delete_many({"_id": keys_between("hour", tenant, period)}, session=session)


async def thin_out(database: Database, tenant: str, day: Span) -> int:
    """Delete some marks of the day's hours that have many, as many as one transaction bears; give how many.

    Of each hour the first one stays, and is written: a refresh that deletes it, on a snapshot that has not seen what
    the deleted ones stand for, conflicts with this, and one of the two runs again.
    """
    marks = database[DIRTY_HOURS]

    async def body(session: Session) -> int:
        deleted = 0
        for hour in sorted(await dirty_hours(database, session, tenant, day)):
            if deleted >= MARKS_AT_ONCE:
                break
            of_hour = {"_id": keys_between("hour", tenant, Span(hour, hour + HOUR_MS))}
            found = marks.find(of_hour, {"_id": 1}, session=session).sort("_id", 1)
            keys = [document["_id"] async for document in found.limit(MARKS_AT_ONCE - deleted + 1)]
            if len(keys) > 1:
                await marks.update_one({"_id": keys[0]}, {"$inc": {"stands_for": len(keys) - 1}}, session=session)
                others = {"_id": {"$gt": keys[0], "$lte": keys[-1]}}
                deleted += (await marks.delete_many(others, session=session)).deleted_count
        return deleted

    return await in_transaction(database.client, body)
