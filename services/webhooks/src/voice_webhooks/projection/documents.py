"""The documents that the projection keeps beside conversations: aliases, parked states and dirty marks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from voice_common.mongo import Database
from voice_common.store.conversations import VERSION, create_conversation_indexes
from voice_common.store.facts import Phase
from voice_common.store.horizons import create_horizons
from voice_common.store.indexes import ensure_index
from voice_common.store.state import CallState
from voice_common.times import HOUR_MS

ALIASES = "aliases"
PARKED = "parked"
DIRTY_HOURS = "dirty_hours"
RETIRED = "retired"
"""The streams of calls that were deleted, by tenant and stream: what still comes for them changes nothing."""


@dataclass(slots=True)
class Alias:
    """Where a parked stream and a session that share a foreign id meet: both write this document.

    Since both write it, two transactions that would miss each other conflict, and one runs again and sees.
    """

    sessions: set[str]
    parked: set[str]

    def to_document(self, tenant: str, id_: str) -> dict[str, Any]:
        """Give the alias's document; equal aliases give equal ones."""
        return {
            "_id": {"tenant": tenant, "id": id_},
            "sessions": sorted(self.sessions),
            "parked": sorted(self.parked),
        }


@dataclass(slots=True)
class Parked:
    """The partial state of a stream that is no session, and the sessions that it has been joined into."""

    state: CallState
    sessions: set[str]

    def to_document(self, tenant: str, stream: str) -> dict[str, Any]:
        """Give the parked state's document; equal ones give equal documents."""
        return {
            "_id": {"tenant": tenant, "stream": stream},
            "version": VERSION,
            "sessions": sorted(self.sessions),
            "state": self.state.to_document(),
        }


def figures_of(conversation: Mapping[str, Any] | None) -> tuple[object, ...] | None:
    """Give what a conversation's document adds to its hour's figures; first the hour, in milliseconds."""
    if conversation is None:
        return None
    completed = conversation["phase"] == Phase.COMPLETED
    return (
        conversation["started_at"] // HOUR_MS * HOUR_MS,
        completed,
        conversation["duration_ms"] if completed else None,
        completed and conversation["recording_available"],
        conversation["tools_succeeded"],
        conversation["tools_known"],
        conversation["sentiment"],
    )


def mark_document(tenant: str, hour: int, batch: object, *, at: int) -> dict[str, Any]:
    """Give the mark that a batch puts on an hour whose figures it changes; `at` (ms) tells how long it waits."""
    return {"_id": {"tenant": tenant, "hour": hour, "batch": batch}, "at": at}


async def create_projection_indexes(database: Database) -> None:
    """Make the indexes that the projection and the look-up of ties read by; safe to repeat."""
    await create_conversation_indexes(database)
    await ensure_index(database[ALIASES], "_id.id", name="by_id")
    await ensure_index(database[PARKED], "version", name="by_version")
    await create_horizons(database)
    await ensure_index(database[RETIRED], "_id", name="_id_")  # as with horizons: not made by a transaction
