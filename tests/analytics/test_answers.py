"""The three routes: shapes and figures that a person computed."""

from __future__ import annotations

import pytest
from analytics_factories import DAY_0, Ask, Call, World, refresh_all

from voice_common.mongo import Database
from voice_common.times import DAY_MS, HOUR_MS

CALLS = [
    Call(DAY_0, "completed", 60_000, recording_available=True, tools_succeeded=2, tools_known=3, sentiment="positive"),
    Call(DAY_0 + HOUR_MS + 1, "completed", 30_500, sentiment="neutral"),
    Call(DAY_0 + HOUR_MS + 2, "failed", sentiment="negative"),
    Call(DAY_0 + DAY_MS - 1, "open", recording_available=True, tools_known=4),
    Call(DAY_0 + DAY_MS, "completed", 10_049, recording_available=True, sentiment="positive"),
]
NOTHING = {
    "total_calls": 0,
    "completed_calls": 0,
    "incomplete_calls": 0,
    "avg_duration_seconds": None,
    "recording_availability_rate": None,
}


@pytest.fixture(params=["live", "rolled up"])
async def world(request: pytest.FixtureRequest, database: Database) -> World:
    """The same calls, before and after the worker has seen them."""
    world = World(database)
    await world.change(*CALLS)
    if request.param == "rolled up":
        await refresh_all(database)
    return world


@pytest.mark.usefixtures("world")
async def test_overview_of_one_day(ask: Ask) -> None:
    assert await ask("overview?start_date=2025-01-15&end_date=2025-01-15") == (
        200,
        {
            "metrics": {
                "total_calls": 4,
                "completed_calls": 2,
                "incomplete_calls": 2,
                "avg_duration_seconds": 45.2,  # 45.25, half to even
                "recording_availability_rate": 0.5,  # the open call's recording is not counted
            }
        },
    )


@pytest.mark.usefixtures("world")
async def test_detailed_of_all_time(ask: Ask) -> None:
    assert await ask("detailed") == (
        200,
        {
            "metrics": {
                "total_calls": 5,
                "completed_calls": 3,
                "incomplete_calls": 2,
                "avg_duration_seconds": 33.5,  # 100549 ms / 3 = 33.516
                "recording_availability_rate": 0.6667,
                "tool_call_success_rate": 0.2857,  # 2 of 7
                "sentiment_distribution": {"positive": 2, "neutral": 1, "negative": 1},
            }
        },
    )


@pytest.mark.usefixtures("world")
async def test_a_range_is_half_open_to_the_millisecond(ask: Ask) -> None:
    _, body = await ask("overview?start_date=2025-01-15T01:00:00.001Z&end_date=2025-01-15T01:00:00.002Z")
    assert body["metrics"]["total_calls"] == 1
    assert body["metrics"]["avg_duration_seconds"] == 30.5


@pytest.mark.usefixtures("world")
@pytest.mark.parametrize(
    ("query", "calls"),
    [
        ("start_date=2025-01-16", 1),
        ("end_date=2025-01-15", 4),
        ("end_date=2025-01-15T00:00:00Z", 0),
        ("start_date=2025-01-15T02:00&end_date=2025-01-16T00:00:00.001Z", 2),
        ("start_date=2025-01-15T02:00:00+01:00&end_date=2025-01-15T03:00:00%2B01:00", 2),
        ("start_date=2025-01-15T01:00:00.001Z&end_date=2025-01-15T01:00:00.001Z", 0),
        ("start_date=1970-01-01&end_date=9998-12-31", 5),
        ("start_date=2030-01-01", 0),
    ],
)
async def test_calls_of_a_range(ask: Ask, query: str, calls: int) -> None:
    status, body = await ask(f"overview?{query}")
    assert (status, body["metrics"]["total_calls"]) == (200, calls)


@pytest.mark.usefixtures("world")
async def test_timeline_by_day(ask: Ask) -> None:
    answer = {
        "timeline": [
            {"bucket": "2025-01-15T00:00:00Z", "call_count": 4, "avg_duration_seconds": 45.2},
            {"bucket": "2025-01-16T00:00:00Z", "call_count": 1, "avg_duration_seconds": 10.0},
        ]
    }
    assert await ask("timeline") == (200, answer)
    assert await ask("timeline?bucket=day&end_date=2025-02-01") == (200, answer)


@pytest.mark.usefixtures("world")
async def test_timeline_by_hour_has_only_hours_with_calls(ask: Ask) -> None:
    assert await ask("timeline?bucket=hour&start_date=2025-01-15T01:00:00.002Z") == (
        200,
        {
            "timeline": [
                {"bucket": "2025-01-15T01:00:00Z", "call_count": 1, "avg_duration_seconds": None},
                {"bucket": "2025-01-15T23:00:00Z", "call_count": 1, "avg_duration_seconds": None},
                {"bucket": "2025-01-16T00:00:00Z", "call_count": 1, "avg_duration_seconds": 10.0},
            ]
        },
    )


@pytest.mark.usefixtures("world")
async def test_fill_zero_shows_every_bucket_of_the_range(ask: Ask) -> None:
    _, body = await ask("timeline?fill=zero&start_date=2025-01-14T12:00:00Z&end_date=2025-01-17")
    assert body["timeline"] == [
        {"bucket": "2025-01-14T00:00:00Z", "call_count": 0, "avg_duration_seconds": None},
        {"bucket": "2025-01-15T00:00:00Z", "call_count": 4, "avg_duration_seconds": 45.2},
        {"bucket": "2025-01-16T00:00:00Z", "call_count": 1, "avg_duration_seconds": 10.0},
        {"bucket": "2025-01-17T00:00:00Z", "call_count": 0, "avg_duration_seconds": None},
    ]
    _, body = await ask("timeline?fill=zero&bucket=hour&start_date=2025-01-15T00:59&end_date=2025-01-15T02:00:00.001Z")
    assert [(entry["bucket"][11:13], entry["call_count"]) for entry in body["timeline"]] == [
        ("00", 0),
        ("01", 2),
        ("02", 0),
    ]
    _, body = await ask("timeline?fill=zero&start_date=2025-01-15T01:30&end_date=2025-01-15T01:30")
    assert body["timeline"] == []


async def test_a_tenant_without_calls_gets_zeros_and_nulls(ask: Ask) -> None:
    assert await ask("overview") == (200, {"metrics": NOTHING})
    _, body = await ask("detailed")
    assert body["metrics"] == {
        **NOTHING,
        "tool_call_success_rate": None,
        "sentiment_distribution": {"positive": 0, "neutral": 0, "negative": 0},
    }
    assert await ask("timeline") == (200, {"timeline": []})


@pytest.mark.usefixtures("world")
@pytest.mark.parametrize("neighbour", ["acm", "acme2", "ACME", "zeta", ""])
async def test_another_tenants_calls_are_never_counted(database: Database, ask: Ask, neighbour: str) -> None:
    _, before = await ask("detailed?start_date=2025-01-15T00:30")
    other = World(database, neighbour)
    await other.change(*(Call(DAY_0 + n * HOUR_MS // 3, tools_known=1) for n in range(100)))
    assert (await ask("detailed?start_date=2025-01-15T00:30"))[1] == before
    await refresh_all(database)
    assert (await ask("detailed?start_date=2025-01-15T00:30"))[1] == before
    assert (await ask("overview", tenant="nobody"))[1] == {"metrics": NOTHING}
