"""How the store answers the list's queries: out of an index, in its order."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest
from recordings_factories import T0, TENANT

from voice_common.mongo import Database
from voice_common.store.conversations import CONVERSATIONS, create_conversation_indexes
from voice_common.times import TimeRange
from voice_recordings.conversations import COUNTED, Conversations, Selection
from voice_recordings.parameters import Status
from voice_recordings.position import Position

CALLS = 2_000
PERIODS = [TimeRange(None, None), TimeRange(T0 + 100, None), TimeRange(None, T0 + 900), TimeRange(T0 + 100, T0 + 900)]


@pytest.fixture
async def commands(database: Database) -> list[dict[str, Any]]:
    """What the store was really asked, for each combination of filters."""
    await create_conversation_indexes(database)
    rng = random.Random(7)  # noqa: S311 - made-up calls
    await database[CONVERSATIONS].insert_many(
        [
            {
                "_id": {"tenant": tenant, "session": f"call-{number:05}"},
                "started_at": T0 + rng.randrange(1000),
                "newest_at": T0 + rng.randrange(20_000_000_000_000),
                "phase": rng.choice(["open", "completed", "failed"]),
                **dict.fromkeys(("answered_at", "ended_at", "duration_ms", "direction", "from", "to")),
                **dict.fromkeys(("hangup_cause", "sentiment")),
                "recording_available": False,
                "message_count": 0,
                "state": "x" * 100,
            }
            for tenant in (TENANT, "other")
            for number in range(CALLS)
        ]
    )
    await database.command("profile", 2)
    conversations = Conversations(database, call_timeout_ms=15_000_000, seconds=5)
    for status in (None, *Status):
        for period in PERIODS:
            for after in (None, Position(T0 + 500, "call-00500")):
                await conversations.page(TENANT, Selection(period, status), limit=10, offset=3, after=after)
    await database.command("profile", 0)
    return [
        entry["command"]
        async for entry in database["system.profile"].find({"ns": f"{database.name}.{CONVERSATIONS}"})
        if entry["op"] in {"query", "command"} and ("find" in entry["command"] or "aggregate" in entry["command"])
    ]


async def test_no_list_query_scans_the_collection_or_sorts_in_memory_and_counting_is_bounded(
    database: Database, commands: list[dict[str, Any]]
) -> None:
    assert len(commands) == 2 * 4 * len(PERIODS) * 2  # a count and a page for each combination
    for command in commands:
        plan, statistics = await _explained(database, command)
        used = set(_stages(plan))
        assert not used & {"COLLSCAN", "SORT"}, command
        if "find" in command:
            assert "state" not in command["projection"]
            # Each branch of the merge may look one document further than the page needs.
            assert statistics["totalDocsExamined"] <= 10 + 1 + 3 + 4, command
        else:
            assert {"$limit": COUNTED + 1} in command["pipeline"]
            assert "FETCH" not in used, command
            assert statistics["totalDocsExamined"] == 0, command


async def _explained(database: Database, command: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    wanted = ("find", "filter", "sort", "projection", "skip", "limit", "aggregate", "pipeline", "cursor")
    asked = {name: command[name] for name in wanted if name in command}
    told = await database.command("explain", asked, verbosity="executionStats")
    if "stages" in told:
        told = told["stages"][0]["$cursor"]
    plan = told["queryPlanner"]["winningPlan"]
    return plan.get("queryPlan", plan), told["executionStats"]


def _stages(plan: dict[str, Any]) -> Iterator[str]:
    yield plan["stage"]
    for below in (*plan.get("inputStages", ()), *([plan["inputStage"]] if "inputStage" in plan else ())):
        yield from _stages(below)
