"""How the server carries out the reads: by index ranges, without looking at a call's document."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from analytics_factories import DAY_0, Call, refresh_all

from voice_analytics.cover import Span
from voice_analytics.refresh import RollupKeeper
from voice_analytics.rollups import ROLLUPS
from voice_analytics.scan import INDEX_NAME, sums_by_hour
from voice_common.mongo import Database
from voice_common.store.conversations import CONVERSATIONS, create_conversation_indexes
from voice_common.times import DAY_MS, HOUR_MS


@pytest.fixture
async def filled(database: Database) -> Database:
    await create_conversation_indexes(database)
    await RollupKeeper(database).prepare()
    for tenant in ("acme", "acme-2"):
        documents = [Call(DAY_0 + n * HOUR_MS // 4).document(tenant) for n in range(400)]
        await database[CONVERSATIONS].insert_many(documents)
    return database


def stages(plan: Any) -> Iterator[dict[str, Any]]:
    """Give each stage of an explanation, however deep."""
    if isinstance(plan, dict):
        if "stage" in plan:
            yield plan
        for part in plan.values():
            yield from stages(part)
    elif isinstance(plan, list):
        for part in plan:
            yield from stages(part)


def cursors(explained: Any) -> Iterator[dict[str, Any]]:
    """Give the explanation of each read of a collection, those of unions too."""
    if isinstance(explained, dict):
        if "$cursor" in explained:
            yield explained["$cursor"]
        for part in explained.values():
            yield from cursors(part)
    elif isinstance(explained, list):
        for part in explained:
            yield from cursors(part)


@pytest.mark.parametrize(
    "spans",
    [
        [Span(DAY_0 + 1, DAY_0 + HOUR_MS)],
        [Span(DAY_0, DAY_0 + 40 * DAY_MS)],
        [Span(DAY_0 + 1, DAY_0 + HOUR_MS), Span(DAY_0 + 3 * DAY_MS, DAY_0 + 3 * DAY_MS + 7)],
        [Span(DAY_0 + n * 3 * HOUR_MS, DAY_0 + n * 3 * HOUR_MS + HOUR_MS) for n in range(16)],
    ],
    ids=["part of an hour", "all", "two edges", "sixteen hours"],
)
async def test_the_live_sums_come_out_of_the_index_alone(filled: Database, spans: list[Span]) -> None:
    command = {"aggregate": CONVERSATIONS, "pipeline": sums_by_hour("acme", spans), "cursor": {}}
    explained = await filled.command("explain", command, verbosity="executionStats")
    parts = list(cursors(explained))
    assert len(parts) == len(spans)
    for part in parts:
        found = list(stages(part["queryPlanner"]["winningPlan"]))
        assert {"FETCH", "COLLSCAN"}.isdisjoint(stage["stage"] for stage in found)
        assert {stage["indexName"] for stage in found if stage["stage"] == "IXSCAN"} == {INDEX_NAME}
    inside = sum(any(span.start <= DAY_0 + n * HOUR_MS // 4 < span.end for span in spans) for n in range(400))
    assert sum(part["executionStats"]["totalDocsExamined"] for part in parts) == 0
    assert sum(part["executionStats"]["totalKeysExamined"] for part in parts) <= inside + len(spans)


async def test_rollups_are_read_by_one_range_of_keys(filled: Database) -> None:
    await refresh_all(filled)
    days = {"$gte": {"tenant": "acme", "day": DAY_0}, "$lt": {"tenant": "acme", "day": DAY_0 + 2 * DAY_MS}}
    command = {
        "find": ROLLUPS,
        "filter": {"$or": [{"_id": {"tenant": "acme", "day": -1}}, {"_id": days}]},
        "projection": {"version": 1, "total": 1},
    }
    explained = await filled.command("explain", command, verbosity="executionStats")
    assert "COLLSCAN" not in {stage["stage"] for stage in stages(explained["queryPlanner"]["winningPlan"])}
    assert explained["executionStats"]["totalDocsExamined"] == 3


async def test_the_worker_finds_tenants_without_reading_their_calls(filled: Database) -> None:
    command = {"distinct": CONVERSATIONS, "key": "_id.tenant"}
    explained = await filled.command("explain", command, verbosity="executionStats")
    assert "DISTINCT_SCAN" in {stage["stage"] for stage in stages(explained["queryPlanner"]["winningPlan"])}
    assert explained["executionStats"]["totalDocsExamined"] == 0
