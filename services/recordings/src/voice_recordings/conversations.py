"""The read side of ``conversations``: a tenant's calls, one or a page of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pymongo

from voice_common.large import apart
from voice_common.mongo import Database, Session
from voice_common.store.conversations import CONVERSATIONS, conversation_key, status_of
from voice_common.store.facts import Phase
from voice_common.store.state import CallState
from voice_common.times import TimeRange, now_ms
from voice_recordings.parameters import Status
from voice_recordings.position import Position

COUNTED = 10_000
"""A total is exact up to here; beyond it nobody counts."""

_ORDER = [("started_at", -1), ("_id.session", 1)]
_LISTED = (
    "started_at",
    "newest_at",
    "answered_at",
    "ended_at",
    "phase",
    "duration_ms",
    "direction",
    "from",
    "to",
    "hangup_cause",
    "sentiment",
    "recording_available",
    "message_count",
)
"""All that is listed: a call's state, which can be large, stays in the store."""


@dataclass(frozen=True, slots=True)
class Conversation:
    """One call as callers see it; times and durations in milliseconds."""

    id: str
    status: Status
    direction: str | None
    caller: str | None
    callee: str | None
    started_at: int
    answered_at: int | None
    ended_at: int | None
    duration_ms: int | None
    sentiment: str | None
    recording_available: bool
    hangup_cause: str | None
    message_count: int


@dataclass(frozen=True, slots=True)
class Selection:
    """Which of a tenant's calls are asked for."""

    period: TimeRange
    status: Status | None


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a list: `total` counts the whole list, up to `COUNTED`; `next` is ``None`` on the last page."""

    conversations: Sequence[Conversation]
    total: int
    is_exact: bool
    next: Position | None


EMPTY = Page((), 0, is_exact=True, next=None)


class Conversations:
    """A tenant's calls; every answer comes within `seconds`, else PyMongo's error does.

    A call without an end whose newest event is older than `call_timeout_ms` has failed: decided as it is read.
    """

    def __init__(self, database: Database, *, call_timeout_ms: int, seconds: float) -> None:
        self._database = database
        self._collection = database[CONVERSATIONS]
        self._call_timeout_ms = call_timeout_ms
        self._seconds = seconds

    async def get(self, tenant: str, conversation_id: str) -> tuple[Conversation, CallState] | None:
        """Give one call and all that its events said, or ``None`` where this tenant has no such call."""
        with pymongo.timeout(self._seconds):
            document = await self._collection.find_one({"_id": conversation_key(tenant, conversation_id)})
        if document is None:
            return None
        said = document["state"]
        return self._conversation(document, now_ms()), await apart(
            CallState.size_in(said), CallState.from_document, said
        )

    async def page(self, tenant: str, selection: Selection, *, limit: int, offset: int, after: Position | None) -> Page:
        """Give at most `limit` calls, newest first, ties by id: those after a position, less the first `offset`."""
        now = now_ms()
        counted = _filter(self._branches(tenant, selection, None, now))
        listed = _filter(self._branches(tenant, selection, after, now))
        # One snapshot for both: calls arrive meanwhile, and a total must fit the page beside it.
        with pymongo.timeout(self._seconds):
            async with self._database.client.start_session(snapshot=True) as session:
                total = await self._count(counted, session)
                documents = await (
                    self._collection.find(listed, dict.fromkeys(_LISTED, 1), session=session)
                    .sort(_ORDER)
                    .skip(offset)
                    .limit(limit + 1)  # one more tells whether there is a next page
                    .to_list()
                )
        found = [self._conversation(document, now) for document in documents[:limit]]
        more = Position(found[-1].started_at, found[-1].id) if len(documents) > limit else None
        return Page(found, min(total, COUNTED), total <= COUNTED, more)

    async def _count(self, selected: Mapping[str, Any], session: Session) -> int:
        """Count no further than one beyond `COUNTED`, in an index alone."""
        return await self._collection.count_documents(selected, limit=COUNTED + 1, session=session)

    def _branches(self, tenant: str, selection: Selection, after: Position | None, now: int) -> list[dict[str, Any]]:
        """Give the alternatives of a filter, each one range of an index that has the order of the list.

        So the store merges them as they are sorted; alternatives inside one another would be sorted in memory.
        """
        return [
            {"_id.tenant": {"$eq": tenant}, **status, **place}
            for status in self._statuses(selection.status, now)
            for place in _places(selection.period, after)
        ]

    def _statuses(self, status: Status | None, now: int) -> list[dict[str, Any]]:
        oldest_active = now - self._call_timeout_ms
        match status:
            case None:
                return [{}]
            case Status.COMPLETED:
                return [{"phase": str(Phase.COMPLETED)}]
            case Status.ACTIVE:
                return [{"phase": str(Phase.OPEN), "newest_at": {"$gte": oldest_active}}]
            case Status.FAILED:
                return [
                    {"phase": str(Phase.FAILED)},
                    {"phase": str(Phase.OPEN), "newest_at": {"$lt": oldest_active}},
                ]

    def _conversation(self, document: Mapping[str, Any], now: int) -> Conversation:
        status = status_of(document["phase"], document["newest_at"], now=now, call_timeout_ms=self._call_timeout_ms)
        return Conversation(
            id=document["_id"]["session"],
            status=Status(status),
            direction=document["direction"],
            caller=document["from"],
            callee=document["to"],
            started_at=document["started_at"],
            answered_at=document["answered_at"],
            ended_at=document["ended_at"],
            duration_ms=document["duration_ms"],
            sentiment=document["sentiment"],
            recording_available=document["recording_available"],
            hangup_cause=document["hangup_cause"],
            message_count=document["message_count"],
        )


def _places(period: TimeRange, after: Position | None) -> list[dict[str, Any]]:
    """Give the alternatives that together are the starts in `period` that come after a position."""
    lower = {} if period.start is None else {"$gte": period.start}
    upper = {} if period.end is None else {"$lt": period.end}
    if after is None:
        return [{"started_at": lower | upper}] if lower or upper else [{}]
    earlier = after.started_at if period.end is None else min(after.started_at, period.end)
    return [
        {"started_at": lower | {"$lt": earlier}},
        {"started_at": lower | upper | {"$eq": after.started_at}, "_id.session": {"$gt": after.session}},
    ]


def _filter(branches: list[dict[str, Any]]) -> dict[str, Any]:
    return branches[0] if len(branches) == 1 else {"$or": branches}
