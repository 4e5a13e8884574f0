"""``GET /api/conversations``: shape, order, filters, validation."""

from __future__ import annotations

import pytest
from recordings_factories import (
    T0,
    completed_call,
    failed_call,
    initiated,
    open_call,
    put,
    put_many,
    recorded,
)

from voice_common.mongo import Database
from voice_common.store.state import CallState

from .conftest import Get

DAY_MS = 86_400_000


async def ids(get: Get, query: str) -> list[str]:
    answer = await get(f"/api/conversations{query}")
    assert answer.status == 200, answer.body
    assert answer.body["total"] == len(answer.body["conversations"])
    return [one["id"] for one in answer.body["conversations"]]


def started(at: int) -> CallState:
    return CallState(started_at=at, newest_at=at)


async def test_a_list_has_exactly_the_documented_shape(database: Database, get: Get) -> None:
    session = await put(database, completed_call().join(recorded("r", "https://a.test/r.mp3")))
    await put(database, completed_call(), tenant="other")
    answer = await get("/api/conversations?channel=voice")
    assert answer.body == {
        "conversations": [
            {
                "id": session,
                "channel": "voice",
                "status": "completed",
                "direction": "inbound",
                "from": "+13125550100",
                "to": "+13125550199",
                "started_at": "2025-01-15T10:00:00Z",
                "answered_at": "2025-01-15T10:00:02Z",
                "ended_at": "2025-01-15T10:01:02Z",
                "duration_seconds": 60,
                "sentiment": None,
                "recording_available": True,
            }
        ],
        "total": 1,
        "total_relation": "eq",
        "limit": 50,
        "offset": 0,
        "next_cursor": None,
    }


async def test_an_empty_list_and_another_channel_have_the_same_shape(database: Database, get: Get) -> None:
    empty = {"conversations": [], "total": 0, "total_relation": "eq", "limit": 7, "offset": 3, "next_cursor": None}
    assert (await get("/api/conversations?limit=7&offset=3")).body == empty
    await put(database, completed_call())
    for channel in ("sms", "Voice", "%7B%22$ne%22:1%7D"):
        answer = await get(f"/api/conversations?channel={channel}&limit=7&offset=3")
        assert (answer.status, answer.body) == (200, empty)


async def test_the_newest_comes_first_and_ties_go_by_id(database: Database, get: Get) -> None:
    starts = {"b": T0, "a": T0, "c": T0 + 1, "d": T0 - 1, "B": T0}
    await put_many(database, {session: started(at) for session, at in starts.items()})
    assert await ids(get, "") == ["c", "B", "a", "b", "d"]


async def test_each_status_lists_its_own(database: Database, get: Get) -> None:
    await put_many(
        database,
        {
            "completed": completed_call(T0),
            "failed": failed_call(T0 + 1),
            "timed-out": open_call(T0 + 2),
            "never-answered-timed-out": initiated(T0 + 3),
            "active": open_call(),
        },
    )
    assert await ids(get, "?status=completed") == ["completed"]
    assert await ids(get, "?status=failed") == ["never-answered-timed-out", "timed-out", "failed"]
    assert await ids(get, "?status=active") == ["active"]
    listed = (await get("/api/conversations")).body["conversations"]
    assert {one["id"]: one["status"] for one in listed} == {
        "completed": "completed",
        "failed": "failed",
        "timed-out": "failed",
        "never-answered-timed-out": "failed",
        "active": "active",
    }


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("?start_date=2025-01-15&end_date=2025-01-15", ["last-ms", "ten", "midnight"]),
        ("?start_date=2025-01-16", ["next-midnight"]),
        ("?end_date=2025-01-14", ["day-before"]),
        ("?start_date=2025-01-15T00:00:00Z&end_date=2025-01-15T10:00:00Z", ["midnight"]),
        ("?start_date=2025-01-15T10:00:00Z&end_date=2025-01-15T10:00:00.001Z", ["ten"]),
        ("?start_date=2025-01-15T11:00:00+01:00&end_date=2025-01-15T10:01Z", ["ten"]),
        ("?start_date=2025-01-15T10:00Z&end_date=2025-01-15T10:00Z", []),
    ],
)
async def test_the_range_is_of_the_start_and_half_open(
    database: Database, get: Get, query: str, expected: list[str]
) -> None:
    midnight = T0 - 10 * 3_600_000
    starts = {
        "day-before": midnight - 1,
        "midnight": midnight,
        "ten": T0,
        "last-ms": midnight + DAY_MS - 1,
        "next-midnight": midnight + DAY_MS,
    }
    await put_many(database, {session: started(at) for session, at in starts.items()})
    assert await ids(get, query) == expected


async def test_filters_combine(database: Database, get: Get) -> None:
    await put_many(
        database,
        {
            "in": failed_call(T0),
            "in-too": open_call(T0 + 1),
            "too-late": failed_call(T0 + DAY_MS),
            "answered": completed_call(T0),
        },
    )
    assert await ids(get, "?status=failed&channel=voice&end_date=2025-01-15&limit=10") == ["in-too", "in"]


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("limit=0", "limit must be a whole number from 1 to 200"),
        ("limit=201", "limit must be a whole number from 1 to 200"),
        ("limit=", "limit must be a whole number from 1 to 200"),
        ("limit=ten", "limit must be a whole number from 1 to 200"),
        ("limit=5.0", "limit must be a whole number from 1 to 200"),
        ("limit=%2B5", "limit must be a whole number from 1 to 200"),
        ("limit=1_0", "limit must be a whole number from 1 to 200"),
        ("limit=%D9%A3", "limit must be a whole number from 1 to 200"),
        ("limit=" + "9" * 5000, "limit must be a whole number from 1 to 200"),
        ("offset=-1", "offset must be a whole number from 0 to 10000"),
        ("offset=10001", "offset must be a whole number from 0 to 10000"),
        ("status=open", "status must be active, completed or failed"),
        ("status=", "status must be active, completed or failed"),
        ("status=Completed", "status must be active, completed or failed"),
        ("page=2", "Unknown query parameter page"),
        ("status[$ne]=failed", "Unknown query parameter status[$ne]"),
        ("limit=5&limit=5", "Query parameter limit is given more than once"),
        ("cursor=a&offset=0", "cursor and offset can't be given together"),
        ("start_date=2025-01-16&end_date=2025-01-15", "start_date must not be after end_date"),
        ("start_date=yesterday", None),
        ("end_date=2025-02-30", None),
        ("channel=", "channel must not be empty"),
        ("channel=%ff", "The query must be UTF-8"),
        ("channel=sms&limit=0", "limit must be a whole number from 1 to 200"),
        ("channel=sms&start_date=x", None),
        ("channel=sms&cursor=x", "cursor must be the next_cursor of an earlier answer"),
    ],
)
async def test_what_is_no_parameter_is_a_400_that_names_it(get: Get, query: str, sentence: str | None) -> None:
    answer = await get(f"/api/conversations?{query}")
    assert answer.status == 400
    assert list(answer.body) == ["error"]
    if sentence is not None:
        assert answer.body["error"] == sentence
    else:
        assert query.rpartition("&")[2].partition("=")[0] in answer.body["error"]


@pytest.mark.parametrize("query", ["limit=1", "limit=200", "offset=0", "offset=10000", "limit=007"])
async def test_the_bounds_themselves_are_good(get: Get, query: str) -> None:
    assert (await get(f"/api/conversations?{query}")).status == 200
