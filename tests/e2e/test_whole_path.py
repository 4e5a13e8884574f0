"""From events to answers: after each step, analytics says what a plain scan over all calls says."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterable
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from webhooks_factories import T0, body_of, event

from voice_analytics.query import CallSums
from voice_analytics.refresh import RollupKeeper
from voice_analytics.sums import Sums, add_up
from voice_common.mongo import connect
from voice_common.store.envelope import read_envelope
from voice_common.store.events import StoredEvent
from voice_common.store.facts import Phase, facts_of
from voice_common.store.state import CallState
from voice_common.store.tenants import Tenant, TenantStore
from voice_common.times import DAY_MS, HOUR_MS, TimeRange
from voice_local.servers import Server
from voice_webhooks.contribution import contribution_of
from voice_webhooks.directory import CachedDirectory
from voice_webhooks.projection.language import is_english
from voice_webhooks.projection.projection import Projection

KINDS: list[tuple[str, dict[str, Any]]] = [
    ("call.initiated", {"direction": "incoming", "from": "+1", "to": "+2"}),
    ("call.answered", {}),
    ("call.hangup", {"hangup_cause": "normal_clearing"}),
    ("call.recording.saved", {"recording_urls": {"mp3": "https://r.example/1.mp3"}}),
    ("ai.assistant.tool_call", {"tool_call_id": "t1", "name": "book", "status": "succeeded"}),
    ("ai.assistant.tool_call", {"tool_call_id": "t1", "name": "book", "status": "failed"}),
    ("ai.assistant.ended", {"sentiment": "negative"}),
    ("ai.assistant.transcript", {"role": "user", "text": "I love it, thank you so much", "is_final": True}),
]
MOMENTS = st.integers(-36 * 60, 36 * 60).map(lambda minutes: T0 + minutes * 60_000)


@st.composite
def worlds(draw: st.DrawFn) -> tuple[list[StoredEvent], list[str | list[int]], list[TimeRange]]:
    events = []
    for number in range(draw(st.integers(3, 24))):
        call = draw(st.integers(0, 4))
        kind, payload = draw(st.sampled_from(KINDS))
        ids = {"call_leg_id": f"l{call}"} | ({"call_session_id": f"s{call}"} if draw(st.integers(0, 3)) else {})
        body = body_of(event(kind, draw(MOMENTS), id=f"e{number}", **payload, **ids))
        envelope = read_envelope(body, received_at=T0)
        stored = StoredEvent("acme", envelope.stream, envelope.event, kind, envelope.occurred_at, T0, "key", body)
        events.append(stored)
    batches = st.lists(st.integers(0, len(events) - 1), min_size=1, max_size=8)
    steps = st.lists(
        st.one_of(batches, st.sampled_from(["refresh", "two refreshes", "refresh and project"])), min_size=3, max_size=8
    )
    ends = st.tuples(MOMENTS, MOMENTS).map(sorted).map(lambda pair: TimeRange(*pair))
    days = st.integers(-2, 2).map(
        lambda day: TimeRange(T0 - T0 % DAY_MS + day * DAY_MS, T0 - T0 % DAY_MS + (day + 1) * DAY_MS)
    )
    ranges = st.lists(st.one_of(ends, days, st.just(TimeRange(None, None))), min_size=2, max_size=3)
    return events, draw(steps), draw(ranges)


def calls(events: Iterable[StoredEvent]) -> list[tuple[int, Sums]]:
    """Give each call's start and figures, from its events alone."""
    streams: dict[str, CallState] = {}
    for stored in events:
        state = contribution_of(read_envelope(stored.body, received_at=T0), stored.key)
        assert state is not None
        streams[stored.stream] = streams[stored.stream].join(state) if stored.stream in streams else state
    found = []
    for stream, state in streams.items():
        if stream.startswith("session:"):
            leg = streams.get(stream.replace("session:s", "leg:l"))
            facts = facts_of(state if leg is None else state.join(leg), is_english)
            done = facts.phase is Phase.COMPLETED
            labels = [int(facts.sentiment == label) for label in ("positive", "neutral", "negative")]
            duration = facts.duration_ms or 0 if done else 0
            recorded = int(done and facts.recording_available)
            sums = Sums(1, int(done), duration, recorded, facts.tools_succeeded, facts.tools_known, *labels)
            found.append((facts.started_at, sums))
    return found


def scan(known: list[tuple[int, Sums]], period: TimeRange) -> list[tuple[int, Sums]]:
    return [
        (start, sums)
        for start, sums in known
        if (period.start is None or start >= period.start) and (period.end is None or start < period.end)
    ]


async def compare(asked: CallSums, known: list[tuple[int, Sums]], period: TimeRange) -> None:
    part = scan(known, period)
    assert await asked.total("acme", period) == add_up([Sums(), *(sums for _, sums in part)])
    for width in (HOUR_MS, DAY_MS):
        buckets: dict[int, list[Sums]] = {}
        for start, sums in part:
            buckets.setdefault(start - start % width, []).append(sums)
        expected = {start: add_up(parts) for start, parts in buckets.items()}
        assert await asked.buckets("acme", period, width) == expected


async def refresh(keeper: RollupKeeper) -> None:
    for tenant in await keeper.unbuilt_tenants():
        await keeper.build(tenant)
    for tenant, day in [*await keeper.dirty_days(), *await keeper.stale_days()]:
        await keeper.refresh(tenant, day)


async def take(
    step: str | list[int], events: list[StoredEvent], path: tuple[Projection, RollupKeeper]
) -> list[StoredEvent]:
    """Do one step; give the events that were projected in it."""
    projection, keeper = path
    if isinstance(step, list):
        batch = [events[number] for number in step]
        await projection.project(batch)
        return batch
    if step == "refresh":
        await refresh(keeper)
        return []
    if step == "two refreshes":
        await asyncio.gather(refresh(keeper), refresh(keeper))
        return []
    await asyncio.gather(refresh(keeper), projection.project(events[:2]), refresh(keeper))
    return events[:2]


async def live_through(
    url: str, events: list[StoredEvent], steps: list[str | list[int]], ranges: list[TimeRange]
) -> None:
    client = connect(url, timeout_seconds=10)
    database = client[f"path_{uuid.uuid4().hex}"]
    try:
        tenants = TenantStore(database)
        await tenants.create(Tenant("acme", "Acme"))
        path = Projection(database, CachedDirectory(tenants)), RollupKeeper(database)
        await path[1].prepare()
        asked = CallSums(database, store_seconds=5, scan_seconds=5)
        known: dict[str, StoredEvent] = {}
        for step in [*steps, list(range(len(events))), "refresh"]:
            known |= {stored.event: stored for stored in await take(step, events, path)}
            for period in ranges:
                await compare(asked, calls(known.values()), period)
        assert await database["dirty_hours"].count_documents({}) == 0
    finally:
        await client.drop_database(database.name)
        await client.close()


def test_analytics_equals_a_full_scan_after_every_step(mongo_server: Server) -> None:
    @settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(worlds())
    def check(world: tuple[list[StoredEvent], list[str | list[int]], list[TimeRange]]) -> None:
        asyncio.run(live_through(mongo_server.url, *world))

    check()
