"""Made-up calls for the tests of analytics, the marks that go with them, and a plain full scan to compare with."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from typing import Any

from aiohttp.test_utils import TestClient
from yarl import URL

from voice_analytics.refresh import RollupKeeper
from voice_common.identity import IDENTITY_HEADER, Identity, IdentitySigner, new_key_pair
from voice_common.mongo import Database, Session, in_transaction
from voice_common.store.conversations import VERSION
from voice_common.times import HOUR_MS, render_ms

PRIVATE_KEY, PUBLIC_KEY = new_key_pair()
TENANT = "acme"
DAY_0 = 1_736_899_200_000
"""2025-01-15T00:00:00Z."""


@dataclass(frozen=True, slots=True)
class Call:
    """What counts of one conversation; times and durations in milliseconds."""

    started_at: int
    phase: str = "completed"
    duration_ms: int | None = 60_000
    recording_available: bool = False
    tools_succeeded: int = 0
    tools_known: int = 0
    sentiment: str | None = None
    session: str = field(default_factory=lambda: str(uuid.uuid4()))

    def document(self, tenant: str) -> dict[str, Any]:
        """Give the document as the projector writes it, as far as analytics has a use for it."""
        return {
            "_id": {"tenant": tenant, "session": self.session},
            "version": VERSION,
            "started_at": self.started_at,
            "newest_at": self.started_at,
            "answered_at": self.started_at if self.phase == "completed" else None,
            "ended_at": None,
            "phase": self.phase,
            "duration_ms": self.duration_ms if self.phase == "completed" else None,
            "sentiment": self.sentiment,
            "recording_available": self.recording_available,
            "tools_succeeded": self.tools_succeeded,
            "tools_known": self.tools_known,
        }


def identity_headers(tenant: str | None = TENANT, *, scopes: Iterable[str] = ("analytics:read",)) -> dict[str, str]:
    """Give the headers that the gateway adds for a caller."""
    identity = Identity(tenant, frozenset(scopes), "request-1")
    return {IDENTITY_HEADER: IdentitySigner(PRIVATE_KEY).sign(identity, "analytics")}


Ask = Callable[..., Awaitable[tuple[int, Any]]]


def asking(service: TestClient[Any, Any]) -> Ask:
    """Make a function that asks ``/api/voice/analytics/<target>`` for a tenant and gives the status and the body."""

    async def ask(target: str, *, tenant: str = TENANT) -> tuple[int, Any]:
        async with service.get(
            URL(f"/api/voice/analytics/{target}", encoded=True), headers=identity_headers(tenant)
        ) as answer:
            return answer.status, await answer.json()

    return ask


class World:
    """A tenant's calls in the database, and the same in memory to compare with."""

    def __init__(self, database: Database, tenant: str = TENANT) -> None:
        self.database = database
        self.tenant = tenant
        self.calls: dict[str, Call] = {}

    async def change(self, *calls: Call, removed: Iterable[str] = ()) -> None:
        """Write calls and take sessions away, with marks for all their hours, as the projector does."""
        changed = {call.session: call for call in calls}
        gone = set(removed) & self.calls.keys() - changed.keys()
        touched = [*changed.values(), *(self.calls[key] for key in self.calls.keys() & (changed.keys() | gone))]
        marks = [mark(self.tenant, call.started_at) for call in touched]
        documents = [call.document(self.tenant) for call in changed.values()]
        conversations = self.database["conversations"]

        async def body(session: Session) -> None:
            for key in gone:
                await conversations.delete_one({"_id": {"tenant": self.tenant, "session": key}}, session=session)
            for document in documents:
                await conversations.replace_one({"_id": document["_id"]}, document, upsert=True, session=session)
            await self.database["dirty_hours"].insert_many(marks, session=session)

        if marks:
            await in_transaction(self.database.client, body)
            self.calls = {key: call for key, call in self.calls.items() if key not in gone} | changed


def mark(tenant: str, moment: int) -> dict[str, Any]:
    """Give a mark for the hour of `moment`."""
    return {"_id": {"tenant": tenant, "hour": moment - moment % HOUR_MS, "batch": uuid.uuid4().hex}}


async def refresh_all(database: Database) -> None:
    """Do what the worker does in a round: build, and refresh all that is dirty or stale."""
    keeper = RollupKeeper(database)
    for tenant in await keeper.unbuilt_tenants():
        await keeper.build(tenant)
    for tenant, day in [*await keeper.dirty_days(), *await keeper.stale_days()]:
        await keeper.refresh(tenant, day)


def scan_overview(calls: Iterable[Call]) -> dict[str, Any]:
    """Give the overview's metrics by a plain scan."""
    counted = list(calls)
    completed = [call for call in counted if call.phase == "completed"]
    return {
        "total_calls": len(counted),
        "completed_calls": len(completed),
        "incomplete_calls": len(counted) - len(completed),
        "avg_duration_seconds": _mean_seconds(completed),
        "recording_availability_rate": _ratio(
            sum(call.recording_available for call in completed), len(completed), "0.0001"
        ),
    }


def scan_detailed(calls: Iterable[Call]) -> dict[str, Any]:
    """Give the detailed metrics by a plain scan."""
    counted = list(calls)
    return {
        **scan_overview(counted),
        "tool_call_success_rate": _ratio(
            sum(call.tools_succeeded for call in counted), sum(call.tools_known for call in counted), "0.0001"
        ),
        "sentiment_distribution": {
            label: sum(call.sentiment == label for call in counted) for label in ("positive", "neutral", "negative")
        },
    }


def scan_timeline(calls: Iterable[Call], width: int, filled: Iterable[int] = ()) -> list[dict[str, Any]]:
    """Give the timeline by a plain scan; `filled` are buckets that are shown even when empty."""
    buckets: dict[int, list[Call]] = {start: [] for start in filled}
    for call in calls:
        buckets.setdefault(call.started_at // width * width, []).append(call)
    return [
        {
            "bucket": render_ms(start),
            "call_count": len(inside),
            "avg_duration_seconds": _mean_seconds([call for call in inside if call.phase == "completed"]),
        }
        for start, inside in sorted(buckets.items())
    ]


def inside(calls: Mapping[str, Call], start: int | None, end: int | None) -> list[Call]:
    """Give the calls that started in ``[start, end)``; ``None`` is open."""
    return [
        call
        for call in calls.values()
        if (start is None or call.started_at >= start) and (end is None or call.started_at < end)
    ]


def _mean_seconds(completed: list[Call]) -> float | None:
    return _ratio(sum(call.duration_ms or 0 for call in completed), 1000 * len(completed), "0.1")


def _ratio(part: int, whole: int, step: str) -> float | None:
    if not whole:
        return None
    with localcontext() as context:
        context.prec = 60
        return float((Decimal(part) / Decimal(whole)).quantize(Decimal(step), ROUND_HALF_EVEN))
