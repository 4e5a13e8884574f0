"""The live part of an answer: sums by hour, straight from ``conversations``, out of a covering index."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from voice_analytics.cover import Span
from voice_analytics.sums import Sums, add_up
from voice_common.mongo import Database, Session
from voice_common.store.conversations import CONVERSATIONS
from voice_common.store.facts import Phase
from voice_common.store.indexes import ensure_index
from voice_common.times import HOUR_MS

INDEX_NAME = "by_start_for_sums"
_INDEX = [
    ("_id.tenant", 1),
    ("started_at", 1),
    ("phase", 1),
    ("duration_ms", 1),
    ("recording_available", 1),
    ("tools_succeeded", 1),
    ("tools_known", 1),
    ("sentiment", 1),
]
_SPANS_AT_ONCE = 16  # so that many are few round trips; in a transaction the server refuses unions


async def create_scan_index(database: Database) -> None:
    """Make the index that holds all that `scan_hours` reads; safe to repeat."""
    await ensure_index(database[CONVERSATIONS], _INDEX, name=INDEX_NAME)


async def scan_hours(database: Database, session: Session, tenant: str, spans: Sequence[Span]) -> dict[int, Sums]:
    """Sum a tenant's calls of disjoint `spans` by the hour of their start; hours without calls are left out."""
    hours: dict[int, Sums] = {}
    at_once = 1 if session.in_transaction else _SPANS_AT_ONCE
    for first in range(0, len(spans), at_once):
        some = spans[first : first + at_once]
        cursor = await database[CONVERSATIONS].aggregate(sums_by_hour(tenant, some), session=session)
        async for row in cursor:
            # An hour that is cut on both sides is in two spans, which can fall into two batches.
            hours[row["_id"]] = add_up([hours.get(row["_id"], Sums()), Sums(*(row[name] for name in Sums._fields))])
    return hours


def sums_by_hour(tenant: str, spans: Sequence[Span]) -> list[dict[str, Any]]:
    """Give the aggregation over `spans` (at least one): for each, one range of the index.

    A union, for of an ``$or`` with several branches the server does not weigh all plans, and then fetches calls.
    """
    first, *others = ([_started_in(tenant, span), _BY_HOUR] for span in spans)
    return first + [{"$unionWith": {"coll": CONVERSATIONS, "pipeline": other}} for other in others]


def _started_in(tenant: str, span: Span) -> dict[str, Any]:
    return {"$match": {"_id.tenant": {"$eq": tenant}, "started_at": {"$gte": span.start, "$lt": span.end}}}


def _count(condition: dict[str, Any]) -> dict[str, Any]:
    return {"$sum": {"$cond": [condition, 1, 0]}}


_COMPLETED = {"$eq": ["$phase", str(Phase.COMPLETED)]}
_BY_HOUR = {
    "$group": {
        "_id": {"$subtract": ["$started_at", {"$mod": ["$started_at", HOUR_MS]}]},
        "calls": {"$sum": 1},
        "completed": _count(_COMPLETED),
        "duration_ms": {"$sum": {"$cond": [_COMPLETED, "$duration_ms", 0]}},
        "recorded": _count({"$and": [_COMPLETED, "$recording_available"]}),
        "tools_succeeded": {"$sum": "$tools_succeeded"},
        "tools_known": {"$sum": "$tools_known"},
        **{label: _count({"$eq": ["$sentiment", label]}) for label in ("positive", "neutral", "negative")},
    }
}
