"""``GET /api/conversations/{id}`` and its messages."""

from __future__ import annotations

from datetime import timedelta

import pytest
from recordings_factories import (
    T0,
    answered,
    completed_call,
    failed_call,
    heard,
    hung_up,
    identity_headers,
    initiated,
    joined,
    open_call,
    put,
    recorded,
    said,
    tool_called,
)
from watchdog import Watchdog

from voice_common.mongo import Database
from voice_common.store.lattice import Stamped
from voice_common.store.state import CallState, Outcome, ToolCall
from voice_common.store.transcript import Line, Lines, Source
from voice_common.times import now_ms

from .conftest import Get, StartService

TIMEOUT_MS = (4 * 60 + 10) * 60_000


async def test_a_completed_call_with_all_that_is_known_of_it(database: Database, get: Get) -> None:
    state = joined(
        completed_call(),
        recorded("r", "https://a.test/r.mp3"),
        tool_called("tool-2", T0 + 9_000, name="book", arguments='{"day": 1}'),
        tool_called("tool-1", T0 + 8_000, name="find", arguments="{}", outcome=Outcome(True, None, 120)),  # noqa: FBT003
        tool_called("tool-3", T0 + 10_000, outcome=Outcome(False, "no such room", None)),  # noqa: FBT003
        said("assistant", "Hello", T0 + 3_000),
        said("user", "Hi", T0 + 4_000),
    )
    session = await put(database, state)
    answer = await get(f"/api/conversations/{session}")
    assert answer.status == 200
    assert answer.body == {
        "conversation": {
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
            "sentiment": "neutral",
            "recording_available": True,
            "hangup_cause": "normal_clearing",
            "tool_calls": [
                {
                    "id": "tool-1",
                    "name": "find",
                    "arguments": "{}",
                    "status": "succeeded",
                    "error": None,
                    "duration_ms": 120,
                    "started_at": "2025-01-15T10:00:08Z",
                },
                {
                    "id": "tool-2",
                    "name": "book",
                    "arguments": '{"day": 1}',
                    "status": "started",
                    "error": None,
                    "duration_ms": None,
                    "started_at": "2025-01-15T10:00:09Z",
                },
                {
                    "id": "tool-3",
                    "name": None,
                    "arguments": None,
                    "status": "failed",
                    "error": "no such room",
                    "duration_ms": None,
                    "started_at": "2025-01-15T10:00:10Z",
                },
            ],
            "message_count": 2,
        }
    }


async def test_a_call_that_was_never_answered_has_failed(database: Database, get: Get) -> None:
    conversation = (await get(f"/api/conversations/{await put(database, failed_call())}")).body["conversation"]
    assert conversation["status"] == "failed"
    assert conversation["answered_at"] is None
    assert conversation["ended_at"] == "2025-01-15T10:00:20Z"
    assert conversation["duration_seconds"] is None
    assert conversation["hangup_cause"] == "no_answer"


@pytest.mark.parametrize(("talk_ms", "seconds"), [(60_000, "60"), (60_250, "60.25"), (1, "0.001"), (0, "0")])
async def test_a_duration_is_exact_to_the_millisecond(database: Database, get: Get, talk_ms: int, seconds: str) -> None:
    session = await put(database, joined(initiated(), answered(T0 + 2_000), hung_up(T0 + 2_000 + talk_ms)))
    conversation = (await get(f"/api/conversations/{session}")).body["conversation"]
    assert repr(conversation["duration_seconds"]) == seconds


@pytest.mark.parametrize(
    ("silent_ms", "status"), [(0, "active"), (TIMEOUT_MS - 10_000, "active"), (TIMEOUT_MS + 10, "failed")]
)
async def test_a_silent_call_fails_at_the_time_out(database: Database, get: Get, silent_ms: int, status: str) -> None:
    newest = now_ms() - silent_ms
    session = await put(database, joined(initiated(newest - 5_000), answered(newest)))
    conversation = (await get(f"/api/conversations/{session}")).body["conversation"]
    assert (conversation["status"], conversation["ended_at"]) == (status, None)
    assert conversation["duration_seconds"] is None
    assert (await get(f"/api/conversations?status={status}")).body["total"] == 1
    other = {"active": "failed", "failed": "active"}[status]
    assert (await get(f"/api/conversations?status={other}")).body["total"] == 0


async def test_the_time_out_is_a_setting(
    database: Database, start_service: StartService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VOICE_CALL_TIMEOUT", "1h30m")
    service = await start_service()
    age = timedelta(hours=1, minutes=31) // timedelta(milliseconds=1)
    session = await put(database, open_call(now_ms() - age))
    async with service.get(f"/api/conversations/{session}", headers=identity_headers()) as answer:
        assert (await answer.json())["conversation"]["status"] == "failed"


async def test_messages_are_the_transcript_oldest_first(database: Database, get: Get) -> None:
    state = joined(
        said("user", "Second", T0 + 4_000, event="e2"),
        said("assistant", "First", T0 + 3_000, event="e9"),
        said("user", "Tied, later id", T0 + 5_123, event="e4"),
        said("assistant", "Tied, earlier id", T0 + 5_123, event="e3"),
    )
    answer = await get(f"/api/conversations/{await put(database, state)}/messages")
    assert answer.status == 200
    assert answer.body == [
        {"id": "e9", "role": "assistant", "content": "First", "created_at": "2025-01-15T10:00:03Z"},
        {"id": "e2", "role": "user", "content": "Second", "created_at": "2025-01-15T10:00:04Z"},
        {"id": "e3", "role": "assistant", "content": "Tied, earlier id", "created_at": "2025-01-15T10:00:05.123Z"},
        {"id": "e4", "role": "user", "content": "Tied, later id", "created_at": "2025-01-15T10:00:05.123Z"},
    ]


async def test_message_ids_of_one_history_differ(database: Database, get: Get) -> None:
    state = heard("end", T0, [("user", "One"), ("assistant", "Two"), ("user", "Three")], source=Source.CONVERSATION)
    messages = (await get(f"/api/conversations/{await put(database, state)}/messages")).body
    assert [message["content"] for message in messages] == ["One", "Two", "Three"]
    assert len({message["id"] for message in messages}) == 3


async def test_a_call_without_a_word_has_no_messages(database: Database, get: Get) -> None:
    answer = await get(f"/api/conversations/{await put(database, completed_call())}/messages")
    assert (answer.status, answer.body) == (200, [])


@pytest.mark.parametrize("suffix", ["", "/messages"])
async def test_another_tenants_conversation_answers_as_one_that_does_not_exist(
    database: Database, get: Get, suffix: str
) -> None:
    theirs = await put(database, completed_call(), tenant="other")
    for session in (theirs, "conv-123"):
        answer = await get(f"/api/conversations/{session}{suffix}")
        assert (answer.status, answer.body) == (404, {"error": "Conversation not found"})


@pytest.mark.parametrize("suffix", ["", "/messages"])
@pytest.mark.parametrize(("session", "query"), [("a%20b", ""), ("x" * 129, ""), ("conv-123", "?limit=5")])
async def test_a_bad_id_or_a_parameter_is_a_400(get: Get, suffix: str, session: str, query: str) -> None:
    answer = await get(f"/api/conversations/{session}{suffix}{query}")
    assert answer.status == 400
    assert list(answer.body) == ["error"]


async def test_two_tenants_can_have_a_call_of_one_id(database: Database, get: Get) -> None:
    await put(database, completed_call(), session="same")
    await put(database, CallState(started_at=T0, newest_at=T0), tenant="other", session="same")
    assert (await get("/api/conversations/same")).body["conversation"]["status"] == "completed"
    assert (await get("/api/conversations/same", tenant="other")).body["conversation"]["from"] is None


async def test_a_call_with_all_that_it_may_hold_keeps_no_request_waiting(database: Database, get: Get) -> None:
    event = "3f2504e0-4f89-11d3-9a0c-0305e82c3301"
    seen = Stamped[int | None](T0, event, None)
    tools = {f"call_{number:029d}": ToolCall(seen, Stamped(T0, event, "find")) for number in range(12_000)}
    lines = {("transcript", f"e{n}"): Lines(T0 + n, (Line("user", "a word or two", T0 + n, 0),)) for n in range(8_000)}
    session = await put(database, joined(initiated(), CallState(tools=tools, lines=lines)))

    async def ask() -> None:
        detail = await get(f"/api/conversations/{session}")
        assert len(detail.body["conversation"]["tool_calls"]) == 12_000
        said = await get(f"/api/conversations/{session}/messages")
        assert len(said.body) == 8_000

    with Watchdog() as watchdog:
        await watchdog.judge(ask)
