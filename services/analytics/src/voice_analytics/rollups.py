"""The collection ``rollups``.

``rollups`` has a document for each UTC day of a tenant that has calls: its total, and the sums of each of its hours
that has calls. For each call, the rollup of its hour is what a scan would give, or the hour has a mark in
``dirty_hours``, or the day's document is of another `VERSION`, or the tenant has no document that says `built` among
its rollups; in the last three cases the calls themselves are asked. That document lives and dies with the rollups, so
dropping them, of one tenant or all, leaves the answers right.

The days before a tenant's horizon are sealed, and there all of this ends: their calls are deleted, and their rollups
are what is left of them. The document of such a day says `sealed` instead of `version`, is read by code of every
version, never written again, and must not be dropped; a sealed day without one had no calls.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from voice_analytics.cover import Span, day_of
from voice_analytics.marks import keys_between
from voice_analytics.sums import Sums, add_up
from voice_common.mongo import Database, Document, Session
from voice_common.store.indexes import ensure_index
from voice_common.times import HOUR_MS

ROLLUPS = "rollups"
VERSION = 1
"""Version of the code that makes these documents."""
STALE_VERSION = 0
"""Version of a document that only says that its day has calls."""

_EVERYTHING = 100_000  # documents; the server cuts a batch at 16 MiB anyway
_BUILT_DAY = -1  # before every day, so that a tenant's documents are one range of keys


@dataclass(frozen=True, slots=True)
class Rollups:
    """A tenant's documents of some days, by the day's start; `built` tells whether they are all there."""

    built: bool
    days: Mapping[int, Document]


async def create_rollup_indexes(database: Database) -> None:
    """Make the indexes of ``rollups``; safe to repeat."""
    await ensure_index(database[ROLLUPS], "version", name="by_version")


def rollup_key(tenant: str, day: int) -> dict[str, Any]:
    """Give the ``_id`` of a day's rollup."""
    return {"tenant": tenant, "day": day}


def built_key(tenant: str) -> dict[str, Any]:
    """Give the ``_id`` of the document that says that all of a tenant's rollups have been made."""
    return rollup_key(tenant, _BUILT_DAY)


def rollup_document(tenant: str, day: int, hours: Mapping[int, Sums]) -> dict[str, Any]:
    """Give the document of a day from its hours that have calls; sums are lists in the order of `Sums`."""
    return {
        "_id": rollup_key(tenant, day),
        "version": VERSION,
        "total": list(add_up(hours.values())),
        "hours": {str((hour - day) // HOUR_MS): list(hours[hour]) for hour in sorted(hours)},
    }


def is_current(document: Document) -> bool:
    """Tell whether this code made a day's document, or it is sealed; another one is not to be read."""
    return "sealed" in document or bool(document["version"] == VERSION)


def total_of(document: Document) -> Sums:
    """Read the day's total."""
    return _sums_of(document["total"])


def hours_of(document: Document) -> dict[int, Sums]:
    """Read the sums of the day's hours that have calls, by the hour's start."""
    day = document["_id"]["day"]
    return {day + int(place) * HOUR_MS: _sums_of(values) for place, values in document["hours"].items()}


async def seal_rollup(database: Database, session: Session, tenant: str, day: int) -> None:
    """Make a day's document, where it has one, the last word on its calls."""
    await database[ROLLUPS].update_one(
        {"_id": rollup_key(tenant, day)}, {"$rename": {"version": "sealed"}}, session=session
    )


async def read_rollups(
    database: Database, session: Session, tenant: str, period: Span, *, by_hour: Collection[int] | None
) -> Rollups:
    """Read the rollups of all days that `period` touches: their totals, and the hours of the days `by_hour`.

    ``None`` asks for the hours of all days.
    """
    projection: dict[str, Any] = {"version": 1, "sealed": 1, "total": 1}
    if by_hour is None:
        projection["hours"] = 1
    elif by_hour:
        projection["hours"] = {"$cond": [{"$in": ["$_id.day", list(by_hour)]}, "$hours", "$$REMOVE"]}
    days = Span(day_of(period.start), period.end)
    cursor = database[ROLLUPS].find(
        {"$or": [{"_id": built_key(tenant)}, {"_id": keys_between("day", tenant, days)}]},
        projection,
        session=session,
        batch_size=_EVERYTHING,
    )
    found = {document["_id"]["day"]: document for document in await cursor.to_list()}
    built = found.pop(_BUILT_DAY, None) is not None
    return Rollups(built, found)


def _sums_of(values: Sequence[int]) -> Sums:
    # What a sealed day's older code did not sum is zero, and what newer code sums beside is not asked for.
    return Sums(*values[: len(Sums._fields)])
