"""Pages of the list: by offset, and by cursor while calls arrive."""

from __future__ import annotations

import asyncio
import base64
from typing import Any

import pytest
from recordings_factories import T0, TENANT, completed_call, failed_call, open_call, put, put_many

from voice_common.mongo import Database
from voice_common.store.conversations import CONVERSATIONS
from voice_common.store.state import CallState

from .conftest import Get


def started(at: int) -> CallState:
    return CallState(started_at=at, newest_at=at)


async def walk(get: Get, query: str = "") -> list[dict[str, Any]]:
    """Give the bodies of all pages, by cursor."""
    pages, cursor = [], ""
    while True:
        answer = await get(f"/api/conversations?limit=3{query}{cursor}")
        assert answer.status == 200, answer.body
        pages.append(answer.body)
        if answer.body["next_cursor"] is None:
            return pages
        cursor = f"&cursor={answer.body['next_cursor']}"


def listed(pages: list[dict[str, Any]]) -> list[str]:
    return [one["id"] for page in pages for one in page["conversations"]]


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 6, 10])
async def test_pages_by_cursor_hold_every_call_once_in_order(database: Database, get: Get, count: int) -> None:
    states = {f"call-{number:02}": started(T0 - number // 4) for number in range(count)}  # four of each start
    if states:
        await put_many(database, states)
    pages = await walk(get)
    assert listed(pages) == sorted(states)
    assert [len(page["conversations"]) for page in pages[:-1]] == [3] * (len(pages) - 1)
    assert len(pages) == max(1, -(-count // 3))
    assert {(page["total"], page["total_relation"], page["limit"]) for page in pages} == {(count, "eq", 3)}


async def test_pages_by_offset_hold_the_same(database: Database, get: Get) -> None:
    await put_many(database, {f"call-{number:02}": started(T0 - number // 4) for number in range(7)})
    found = []
    for offset in (0, 3, 6, 9):
        body = (await get(f"/api/conversations?limit=3&offset={offset}")).body
        assert (body["total"], body["offset"], body["limit"]) == (7, offset, 3)
        assert (body["next_cursor"] is None) == (offset >= 6)
        found.append([one["id"] for one in body["conversations"]])
    assert found == [[f"call-{number:02}" for number in numbers] for numbers in ((0, 1, 2), (3, 4, 5), (6,), ())]


async def test_a_cursor_goes_on_from_a_page_by_offset(database: Database, get: Get) -> None:
    await put_many(database, {f"call-{number}": started(T0) for number in range(7)})
    first = (await get("/api/conversations?limit=3&offset=2")).body
    second = (await get(f"/api/conversations?limit=3&cursor={first['next_cursor']}")).body
    assert listed([second]) == ["call-5", "call-6"]


@pytest.mark.parametrize("status", ["failed", "completed", "active"])
async def test_pages_of_a_status_in_a_range(database: Database, get: Get, status: str) -> None:
    states = {}
    for number in range(8):
        states[f"completed-{number}"] = completed_call(T0 + number // 3)
        states[f"failed-{number}"] = failed_call(T0 + number // 3)
        states[f"timed-out-{number}"] = open_call(T0 + number // 3)
        states[f"active-{number}"] = open_call()
    await put_many(database, states)
    bounds = "" if status == "active" else "&end_date=2025-01-15T10:00:00.002Z&start_date=2025-01-15T10:00:00Z"
    pages = await walk(get, f"&status={status}{bounds}")
    whole = (await get(f"/api/conversations?limit=200&status={status}{bounds}")).body
    assert listed(pages) == listed([whole])
    assert len(listed(pages)) == len(set(listed(pages))) == {"failed": 12, "completed": 6, "active": 8}[status]
    assert {page["total"] for page in pages} == {whole["total"]}


async def test_calls_that_arrive_while_paging_are_neither_skipped_nor_repeated(database: Database, get: Get) -> None:
    before = {f"call-{number:02}": started(T0 - number) for number in range(9)}
    await put_many(database, before)
    seen, cursor, arrival = [], "", 0
    while True:
        body = (await get(f"/api/conversations?limit=2{cursor}")).body
        seen += listed([body])
        for _ in range(3):
            arrival += 1
            await put(database, started(T0 + arrival), session=f"new-{arrival}")
        if body["next_cursor"] is None:
            break
        cursor = f"&cursor={body['next_cursor']}"
    assert seen == sorted(before)


async def test_a_total_fits_the_page_beside_it_while_calls_arrive(database: Database, get: Get) -> None:
    async def arrive() -> None:
        for number in range(180):
            await put(database, started(T0 + number))

    await put(database, started(T0 - 1))
    looks = 0
    async with asyncio.TaskGroup() as group:
        arriving = group.create_task(arrive())
        while not arriving.done():
            body = (await get("/api/conversations?limit=200")).body
            assert (body["total"], body["next_cursor"]) == (len(body["conversations"]), None)
            looks += 1
    assert looks > 10


async def test_a_cursor_outlives_the_call_it_names(database: Database, get: Get) -> None:
    await put_many(database, {f"call-{number}": started(T0) for number in range(4)})
    cursor = (await get("/api/conversations?limit=2")).body["next_cursor"]
    await database[CONVERSATIONS].delete_one({"_id": {"tenant": TENANT, "session": "call-1"}})
    assert listed([(await get(f"/api/conversations?cursor={cursor}")).body]) == ["call-2", "call-3"]


async def test_a_cursor_outside_of_the_range_stays_in_the_range(database: Database, get: Get) -> None:
    await put_many(database, {f"call-{number}": started(T0 - number) for number in range(4)})
    cursor = (await get("/api/conversations?limit=1")).body["next_cursor"]
    inside = await get(f"/api/conversations?cursor={cursor}&end_date=2025-01-15T09:59:59.998Z")
    assert listed([inside.body]) == ["call-3"]
    outside = await get(f"/api/conversations?cursor={cursor}&start_date=2025-01-15T10:00:00Z")
    assert listed([outside.body]) == []


async def test_a_cursor_shows_nothing_of_another_tenant(database: Database, get: Get) -> None:
    await put_many(database, {f"call-{number}": started(T0) for number in range(4)})
    await put(database, started(T0 - 5), tenant="other", session="theirs")
    cursor = (await get("/api/conversations?limit=1")).body["next_cursor"]
    theirs = await get(f"/api/conversations?cursor={cursor}", tenant="other")
    assert listed([theirs.body]) == ["theirs"]


def _coded(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).rstrip(b"=").decode()


@pytest.mark.parametrize(
    "cursor",
    [
        "",
        "x",
        "....",
        "%FE",
        "é",
        _coded("1736935200000"),
        _coded("1736935200000."),
        _coded(".call"),
        _coded("-1.call"),
        _coded("+1.call"),
        _coded("01.call"),
        _coded("1_0.call"),
        _coded("99999999999999999999999.call"),
        _coded("1e3.call"),
        _coded("1.{$ne}"),
        _coded("1." + "x" * 129),
        _coded("1.call") + "=",
        _coded("1.call") + "%0A",
        "9" * 6000,
    ],
)
async def test_a_malformed_cursor_is_a_400(get: Get, cursor: str) -> None:
    answer = await get(f"/api/conversations?cursor={cursor}")
    assert answer.status == 400
    sentence = "The query must be UTF-8" if cursor == "%FE" else "cursor must be the next_cursor of an earlier answer"
    assert answer.body == {"error": sentence}


async def test_a_total_is_exact_to_ten_thousand_and_then_said_to_be_a_floor(database: Database, get: Get) -> None:
    documents = [
        {
            "_id": {"tenant": TENANT, "session": f"call-{number:05}"},
            "started_at": T0,
            "newest_at": T0,
            "phase": "failed" if number % 2 else "open",
            **dict.fromkeys(("answered_at", "ended_at", "duration_ms", "direction", "from", "to")),
            **dict.fromkeys(("hangup_cause", "sentiment")),
            "recording_available": False,
            "message_count": 0,
        }
        for number in range(10_001)
    ]
    await database[CONVERSATIONS].insert_many(documents[:10_000])
    for query in ("", "&status=failed"):
        body = (await get(f"/api/conversations?limit=1{query}")).body
        assert (body["total"], body["total_relation"]) == (10_000, "eq")
    await database[CONVERSATIONS].insert_one(documents[10_000])
    for query in ("", "&status=failed"):
        body = (await get(f"/api/conversations?limit=1&offset=10000{query}")).body
        assert (body["total"], body["total_relation"]) == (10_000, "gte")
        assert (listed([body]), body["next_cursor"]) == (["call-10000"], None)
