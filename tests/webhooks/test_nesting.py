"""Webhooks that are large or nested in one another: kept or stored, never a 500 and never set aside."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest
from voice_command import Voice
from webhooks_factories import VOICE, Service, Signer, start_service, until

from voice_common.mongo import Database
from voice_common.store.envelope import UnreadableEventError, is_deeper, read_envelope
from voice_common.store.tenants import TenantStore
from voice_local.servers import Server

MEBIBYTE = 1024 * 1024
TYPES = [
    "ai.assistant.ended", "ai.assistant.response", "ai.assistant.tool_call", "ai.assistant.transcript",
    "call.ai_gather.ended", "call.ai_gather.message_history_updated", "call.answered", "call.conversation.ended",
    "call.conversation_insights.generated", "call.cost", "call.hangup", "call.initiated", "call.recording.saved",
    "call.transcription", "call.unheard_of",
]  # fmt: skip
READ = [
    "arguments", "assistant_id", "call_control_id", "call_leg_id", "client_state", "content", "conversation_id",
    "direction", "duration_ms", "duration_sec", "end_time", "error", "from", "hangup_cause", "is_final",
    "message_history", "messages", "name", "occurred_at", "public_recording_urls", "reason", "recording_ended_at",
    "recording_id", "recording_started_at", "recording_urls", "results", "role", "sentiment", "start_time", "status",
    "success", "text", "to", "tool_call_id", "transcript", "transcription_data",
]  # fmt: skip
"""Every field of a payload that anything is read from."""


def nested(levels: int, opening: str = "[", closing: str = "]") -> str:
    return opening * levels + closing * levels


def a_webhook(payload: str = "{}") -> bytes:
    return f'{{"data": {{"event_type": "call.cost", "id": "e1", "payload": {payload}}}}}'.encode()


@pytest.fixture
async def strict(
    database: Database,
    mongo_server: Server,
    tenants: TenantStore,  # noqa: ARG001 - the service starts with a tenant
    signer: Signer,
) -> AsyncIterator[Service]:
    service, stop = await start_service(database, mongo_server.url, signer, webhook_levels=10, webhook_bytes=65_536)
    yield service
    await stop()


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"[" * MEBIBYTE, "the body is nested too deeply"),
        (nested(MEBIBYTE // 2).encode(), "the body is nested too deeply"),
        (b'{"data":' * (MEBIBYTE // 8), "the body is nested too deeply"),
        (a_webhook('{"a":' * 1000 + "1" + "}" * 1000), "the body is nested more than 100 levels deep"),
        (a_webhook(nested(99)), "the body is nested more than 100 levels deep"),
        (b'{"data": {"id": ' + b"9" * 5000 + b', "event_type": "x"}}', "the event has no id"),
    ],
    ids=["a mebibyte, open", "a mebibyte, closed", "objects", "1000 levels", "101 levels", "a number of 5000 digits"],
)
async def test_a_signed_body_that_is_nested_too_deeply_is_a_400_and_kept_with_the_reason(
    service: Service, body: bytes, reason: str
) -> None:
    for _ in range(2):
        response = await service.post(body)
        assert response.status == 400
        assert await response.json() == {"error": f"The webhook was kept but can't be used: {reason}"}
    (kept,) = await service.database["quarantine"].find({}).to_list()
    assert (kept["body"], kept["reason"]) == (body, reason)
    assert await service.database["events"].count_documents({}) == 0


async def test_an_unsigned_one_is_a_401_and_not_kept(service: Service) -> None:
    assert (await service.post(b"[" * MEBIBYTE, signer=Signer())).status == 401
    assert await service.database["quarantine"].count_documents({}) == 0


async def test_depth_and_size_are_settings(strict: Service) -> None:
    assert (await strict.post(a_webhook(nested(8)))).status == 200
    assert (await strict.post(a_webhook(nested(9)))).status == 400
    for size, status in ((65_536, 200), (65_537, 413)):
        body = a_webhook('{"text": ""}').replace(b'""', b'"' + b"x" * (size - len(a_webhook('{"text": ""}'))) + b'"')
        assert len(body) == size
        assert (await strict.post(body)).status == status

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(2):
            yield b"x" * 40_000

    assert (await strict.client.post(VOICE, data=chunks(), headers=strict.identity())).status == 413


async def test_whatever_is_read_may_be_nested_or_huge_and_is_projected(service: Service) -> None:
    values = {
        "list": nested(95),
        "object": nested(95, '{"label":', "}").replace(":}", ":1}"),
        "number": "123456789012345678901234567890",
        "float": "-1e308",
        "large": str(2**64 - 1),
        "text": json.dumps("x" * 20_000),
        "odd": r'"\ud800\u0000$.a"',
        "history": f'[{{"role": "user", "content": {nested(90)}, "tool_calls": [{{"id": {nested(90)}}}]}}]',
    }
    sessions = set()
    for kind in TYPES:
        for name, value in values.items():
            session = f"{kind}-{name}"
            fields = ",".join(f'"{field}": {value}' for field in READ)
            body = (
                f'{{"data": {{"event_type": "{kind}", "id": "{session}", "occurred_at": "2025-01-15T10:00:00Z",'
                f'"payload": {{"connection_id": "1001", "call_session_id": "{session}", {fields}}}}}}}'
            ).encode()
            assert await service.status(body) == "accepted", session
            sessions.add(session)

    async def projected() -> bool:
        assert await service.database["set_aside"].find({}).to_list() == []
        return len(await service.database["conversations"].distinct("_id.session")) == len(sessions)

    await until(projected)


@pytest.mark.parametrize("text", [r'"\ud800"', nested(97), r'"\ud800", "number": ' + "9" * 40])
async def test_voice_events_shows_any_event_that_was_stored(service: Service, mongo_server: Server, text: str) -> None:
    body = a_webhook(f'{{"connection_id": "1001", "text": {text}}}')
    assert await service.status(body) == "accepted"
    voice = Voice({"VOICE_MONGO_URL": mongo_server.url, "VOICE_MONGO_DATABASE": service.database.name})
    shown = await voice("events", "show", "acme", "e1")
    assert shown.exit_code == 0
    assert "1001" in shown.stdout
    assert (await voice.json("events", "show", "acme", "e1"))["body"] == body.decode()


@pytest.mark.parametrize("opening", ["[", '{"a":', '[1,"{[",{"b":'])
def test_levels_are_counted_exactly(opening: str) -> None:
    each = opening.replace('"{["', "").count("[") + opening.replace('"{["', "").count("{")
    closing = "".join({"[": "]", "{": "}"}[mark] for mark in reversed(opening.replace('"{["', "")) if mark in "[{")
    for times in (1, 2, 50):
        body = (opening * times + "0" + closing * times).encode()
        document = json.loads(body)
        assert not is_deeper(body, document, times * each)
        assert is_deeper(body, document, times * each - 1)


def test_what_was_stored_once_is_read_whatever_the_limit_is_by_now() -> None:
    body = a_webhook(nested(200))
    assert read_envelope(body, received_at=0).event == "e1"
    with pytest.raises(UnreadableEventError, match="more than 100 levels"):
        read_envelope(body, received_at=0, deepest=100)
