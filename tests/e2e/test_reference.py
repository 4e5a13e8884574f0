"""Everything in the API reference, called as printed there, answers with exactly the documented keys."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from e2e_factories import Customer, World, until

from voice_local.simulation import oracle
from voice_local.simulation.delivery import planned
from voice_local.simulation.story import Call

OVERVIEW = {
    "total_calls", "completed_calls", "incomplete_calls", "avg_duration_seconds", "recording_availability_rate",
}  # fmt: skip
RECORDING = {"id", "urls", "duration_seconds", "available", "started_at", "ended_at"}
CONVERSATION = {
    "id", "channel", "status", "direction", "from", "to", "started_at", "answered_at", "ended_at", "duration_seconds",
    "sentiment", "recording_available",
}  # fmt: skip
PAGE = {"conversations", "total", "total_relation", "limit", "offset", "next_cursor"}


@pytest.fixture
async def told(world: World) -> tuple[Customer, list[Call]]:
    (customer,) = await world.customer()
    calls = world.calls_of(customer, count=24, days=5)
    await world.send(planned(calls))

    async def shown() -> bool:
        body = await world.fresh("/api/voice/analytics/detailed", customer)
        return bool(body["metrics"] == oracle.metrics(calls))

    await until(shown)
    return customer, calls


async def test_every_example_of_the_reference_answers_with_its_keys(
    world: World, told: tuple[Customer, list[Call]]
) -> None:
    customer, calls = told
    today = datetime.now(UTC).date()
    before = today - timedelta(days=30)
    days = f"start_date={before}&end_date={today}"

    overview = await world.get(f"/api/voice/analytics/overview?{days}", customer)
    assert overview.status == 200
    assert overview.body.keys() == {"metrics"}
    assert overview.body["metrics"].keys() == OVERVIEW
    assert overview.headers["Cache-Control"] == "public, max-age=60"
    assert overview.headers["ETag"].startswith('"')
    assert overview.headers["X-RateLimit-Limit"] == "60"
    assert {"X-RateLimit-Remaining", "X-RateLimit-Reset", "X-Request-ID"} <= overview.headers.keys()

    detailed = await world.get(f"/api/voice/analytics/detailed?start_date={before}", customer)
    assert detailed.body["metrics"].keys() == OVERVIEW | {"tool_call_success_rate", "sentiment_distribution"}
    assert detailed.body["metrics"] == oracle.metrics(calls)
    assert detailed.body["metrics"]["sentiment_distribution"].keys() == {"positive", "neutral", "negative"}

    timeline = await world.get(f"/api/voice/analytics/timeline?bucket=hour&start_date={before}", customer)
    assert timeline.body.keys() == {"timeline"}
    assert all(
        bucket.keys() == {"bucket", "call_count", "avg_duration_seconds"} for bucket in timeline.body["timeline"]
    )
    assert timeline.headers["Cache-Control"] == "public, max-age=300"
    assert sum(bucket["call_count"] for bucket in timeline.body["timeline"]) == len(calls)

    page = await world.get("/api/conversations?channel=voice&limit=20", customer)
    assert page.body.keys() == PAGE
    assert len(page.body["conversations"]) == 20
    assert all(each.keys() == CONVERSATION for each in page.body["conversations"])
    assert [each["id"] for each in page.body["conversations"]] == [
        call.session for call in sorted(calls, key=lambda call: (-call.started_at, call.session))
    ][:20]


async def test_recordings_and_transcripts_of_a_call_answer_with_their_keys(
    world: World, told: tuple[Customer, list[Call]]
) -> None:
    customer, calls = told
    recorded = next(call for call in calls if call.recorded)
    silent = next(call for call in calls if not call.recorded)

    found = await world.get(f"/api/voice/recordings/{recorded.session}", customer)
    assert found.status == 200
    assert found.body["recording"].keys() == RECORDING
    assert found.body["recording"]["available"] is True
    assert found.body["recording"]["urls"][0].partition("?")[0].endswith(".mp3")

    missing = await world.get(f"/api/voice/recordings/{silent.session}", customer)
    assert missing.status == 404
    assert missing.body["recording"].keys() == RECORDING
    assert missing.body["recording"]["available"] is False

    detail = await world.get(f"/api/conversations/{recorded.session}", customer)
    assert detail.body["conversation"].keys() == CONVERSATION | {"hangup_cause", "tool_calls", "message_count"}

    talked = next(call for call in calls if any(event.type == "ai.assistant.transcript" for event in call.events))
    messages = await world.get(f"/api/conversations/{talked.session}/messages", customer)
    assert messages.status == 200
    assert messages.body
    assert all(message.keys() == {"id", "role", "content", "created_at"} for message in messages.body)
    assert {message["role"] for message in messages.body} <= {"user", "assistant"}


@pytest.mark.parametrize(
    ("path", "area"),
    [
        ("/api/voice/analytics/overview", "analytics"),
        ("/api/voice/recordings/conv-123", "recordings"),
        ("/api/conversations?channel=voice", "conversations"),
    ],
)
async def test_without_a_token_nothing_is_told(world: World, path: str, area: str) -> None:
    answer = await world.get(path)
    assert answer.status == 401
    assert answer.body == {"error": f"Missing tenant context for {area} request"}
    assert answer.headers["WWW-Authenticate"] == "Bearer"


async def test_an_unknown_conversation_is_not_found(world: World) -> None:
    (customer,) = await world.customer()
    for path in (
        "/api/voice/recordings/conv-123",
        "/api/conversations/conv-123",
        "/api/conversations/conv-123/messages",
    ):
        answer = await world.get(path, customer)
        assert (answer.status, answer.body) == (404, {"error": "Conversation not found"})
