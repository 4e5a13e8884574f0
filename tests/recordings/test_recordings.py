"""``GET /api/voice/recordings/{id}``."""

from __future__ import annotations

import pytest
from recordings_factories import T0, completed_call, joined, open_call, put, recorded

from voice_common.mongo import Database

from .conftest import Get

MP3, WAV = "https://recordings.test/1.mp3", "https://recordings.test/1.wav"


async def test_an_available_recording_is_shown_with_its_own_times(database: Database, get: Get) -> None:
    session = await put(database, joined(completed_call(), recorded("recording-123", MP3, WAV)))
    answer = await get(f"/api/voice/recordings/{session}")
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "application/json; charset=utf-8"
    assert answer.body == {
        "recording": {
            "id": "recording-123",
            "urls": [MP3, WAV],
            "duration_seconds": 57,
            "available": True,
            "started_at": "2025-01-15T10:00:03Z",
            "ended_at": "2025-01-15T10:01:00Z",
        }
    }


@pytest.mark.parametrize("more", [[], [recorded("recording-123")]], ids=["none", "one without a URL"])
async def test_a_call_without_a_recording_is_a_404_with_the_calls_own_times(
    database: Database, get: Get, more: list[object]
) -> None:
    session = await put(database, joined(completed_call(), *more))  # type: ignore[arg-type] # states
    answer = await get(f"/api/voice/recordings/{session}")
    assert answer.status == 404
    assert answer.body == {
        "recording": {
            "id": None,
            "urls": None,
            "duration_seconds": None,
            "available": False,
            "started_at": "2025-01-15T10:00:00Z",
            "ended_at": "2025-01-15T10:01:02Z",
        }
    }


async def test_an_open_call_without_a_recording_has_no_end(database: Database, get: Get) -> None:
    session = await put(database, open_call(T0))
    answer = await get(f"/api/voice/recordings/{session}")
    assert answer.status == 404
    assert answer.body["recording"]["ended_at"] is None


@pytest.mark.parametrize(
    ("length_ms", "seconds"),
    [(0, 0), (499, 0), (500, 0), (501, 1), (1500, 2), (2500, 2), (2501, 3), (244_999, 245), (245_000, 245)],
)
async def test_a_recordings_duration_is_whole_seconds_half_to_even(
    database: Database, get: Get, length_ms: int, seconds: int
) -> None:
    state = recorded("r", MP3, started_at=T0, ended_at=T0 + length_ms)
    answer = await get(f"/api/voice/recordings/{await put(database, state)}")
    duration = answer.body["recording"]["duration_seconds"]
    assert duration == seconds
    assert isinstance(duration, int)


async def test_a_recording_without_times_has_nulls_for_them(database: Database, get: Get) -> None:
    session = await put(database, joined(completed_call(), recorded("r", MP3, started_at=None, ended_at=None)))
    answer = await get(f"/api/voice/recordings/{session}")
    assert answer.status == 200
    assert answer.body["recording"] == {
        "id": "r",
        "urls": [MP3],
        "duration_seconds": None,
        "available": True,
        "started_at": None,
        "ended_at": None,
    }


async def test_of_several_recordings_the_latest_that_is_available_is_shown(database: Database, get: Get) -> None:
    state = joined(
        recorded("early", "https://a.test/e.mp3", ended_at=T0 + 10_000, at=T0 + 90_000),
        recorded("late-b", "https://a.test/b.mp3", ended_at=T0 + 20_000),
        recorded("late-a", "https://a.test/a.mp3", ended_at=T0 + 20_000),
        recorded("latest-but-empty", ended_at=T0 + 30_000),
    )
    answer = await get(f"/api/voice/recordings/{await put(database, state)}")
    assert answer.body["recording"]["id"] == "late-b"
    assert answer.body["recording"]["urls"] == ["https://a.test/b.mp3"]


async def test_an_unknown_conversation_and_another_tenants_answer_alike(database: Database, get: Get) -> None:
    theirs = await put(database, joined(completed_call(), recorded("r", MP3)), tenant="other")
    answers = [await get(f"/api/voice/recordings/{session}") for session in (theirs, "conv-123")]
    assert [(answer.status, answer.body) for answer in answers] == [(404, {"error": "Conversation not found"})] * 2


@pytest.mark.parametrize("session", ["a%20b", "x" * 129, "a%2Fb", "%7B%22$ne%22:1%7D", "é", "a%00", "%ff", "$ne"])
async def test_an_id_of_another_form_is_a_400(get: Get, session: str) -> None:
    answer = await get(f"/api/voice/recordings/{session}")
    assert answer.status == 400
    assert list(answer.body) == ["error"]


async def test_an_id_of_128_characters_is_looked_up(get: Get) -> None:
    assert (await get("/api/voice/recordings/" + "A0._:-zz" * 16)).status == 404


async def test_a_query_parameter_is_a_400_that_names_it(get: Get) -> None:
    answer = await get("/api/voice/recordings/conv-123?format=wav")
    assert (answer.status, answer.body) == (400, {"error": "Unknown query parameter format"})
