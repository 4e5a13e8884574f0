"""The collection ``horizons``: how far back a tenant's data is whole; one document for each tenant that deletes some.

What lies behind a horizon stays as it is: nothing is projected there, recomputed or counted anew. Horizons only move
on; a tenant that keeps its data longer from now on gets nothing back.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from voice_common.mongo import Database, Session
from voice_common.store.indexes import ensure_index
from voice_common.times import DAY_MS

HORIZONS = "horizons"


@dataclass(frozen=True, slots=True)
class Horizon:
    """One tenant's horizons, in milliseconds.

    `sealed_before` is the start of the first UTC day that is not sealed: of a sealed day only the rollup is kept.
    The days before `sealing_before` may be sealed at any moment. Events received before `events_gone_before` may be
    gone.
    """

    sealed_before: int = 0
    events_gone_before: int = 0
    sealing_before: int = 0

    def seals(self, started_at: int) -> bool:
        """Tell whether a call of this start belongs to a sealed day."""
        return started_at < self.sealed_before

    def is_sealing(self, started_at: int) -> bool:
        """Tell whether the day that a call of this start belongs to is sealed, or may be at any moment."""
        next_day = self.sealed_before + DAY_MS if self.sealed_before else 0
        return started_at < max(self.sealing_before, next_day)

    def freezes(self, started_at: int) -> bool:
        """Tell whether a call of this start can't be computed from its events any more.

        With a day to spare: what an event says of its time is the sender's clock, and when it was received is ours.
        """
        gone = bool(self.events_gone_before) and started_at < self.events_gone_before + DAY_MS
        return gone or self.seals(started_at)


async def create_horizons(database: Database) -> None:
    """Make the collection; safe to repeat.

    Of transactions that make the collection by writing to it, two were seen to commit, each its own horizon.
    """
    await ensure_index(database[HORIZONS], "_id", name="_id_")


def horizon_key(tenant: str) -> dict[str, str]:
    """Give the ``_id`` of a tenant's horizons."""
    return {"tenant": tenant}


async def horizons_of(
    database: Database, tenants: Iterable[str], *, session: Session | None = None
) -> dict[str, Horizon]:
    """Give the horizons of some tenants; those of a tenant that never deleted anything are zero."""
    found = dict.fromkeys(tenants, Horizon())
    keys = [horizon_key(tenant) for tenant in found]
    async for document in database[HORIZONS].find({"_id": {"$in": keys}}, session=session):
        found[document["_id"]["tenant"]] = Horizon(
            document.get("sealed_before", 0),
            document.get("events_gone_before", 0),
            document.get("sealing_before", 0),
        )
    return found


async def touch_horizon(database: Database, tenant: str, *, session: Session) -> None:
    """Write a tenant's horizons without moving them.

    Whoever changes a call of a day that may be sealed does so: the sealing writes the same document, so that of two
    transactions that would miss each other one conflicts and runs again.
    """
    await database[HORIZONS].update_one({"_id": horizon_key(tenant)}, {"$inc": {"touched": 1}}, session=session)
