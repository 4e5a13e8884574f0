"""The two webhook endpoints, each with what those who call it are told of it."""

from __future__ import annotations

from typing import Any

from voice_common.web.openapi import Answer, Body, Endpoint, failure, header
from voice_webhooks.handlers import receive_webhook
from voice_webhooks.reception import InvalidWebhookSignature, Result
from voice_webhooks.shapes import BareEvent, Envelope, WebhookAnswer
from voice_webhooks.signature import SIGNATURE_HEADER, TIMESTAMP_HEADER, TOLERANCE_SECONDS

_TAG = "Webhooks"
_SECURITY: dict[str, Any] = {
    "telnyxSignature": {
        "type": "apiKey",
        "in": "header",
        "name": SIGNATURE_HEADER,
        "description": "Base64 of the Ed25519 signature over `<telnyx-timestamp>|<raw body>`, made with the key of the "
        "Telnyx account.",
    },
    "telnyxTimestamp": {
        "type": "apiKey",
        "in": "header",
        "name": TIMESTAMP_HEADER,
        "description": f"Unix seconds of the signature, at most {TOLERANCE_SECONDS} s off.",
    },
}
_RETRY = {"Retry-After": header("Seconds after which to send it again.", 1, kind="integer", minimum=1)}
_CALL = {
    "call_control_id": "v3:MdI91X4lWFEs7IgbBEOT9M4AigoY08M0WWZFISt1Yw2axZ_IiE4pqg",
    "call_leg_id": "428c31b6-7af4-4bcb-b7f5-5013ef9657c1",
    "call_session_id": "1f4e8c60-3bd7-4e5a-9d2e-0b6c2b8f7a11",
    "connection_id": "1494404757140276705",
}
_EXAMPLES = {
    "call.initiated": {
        "data": {
            "record_type": "event",
            "event_type": "call.initiated",
            "id": "0ccc7b54-4df3-4bca-a65a-3da1ecc777f0",
            "occurred_at": "2025-01-15T10:00:00.000000Z",
            "payload": {
                **_CALL,
                "direction": "incoming",
                "from": "+13125550142",
                "to": "+13125550100",
                "state": "parked",
            },
        },
        "meta": {"attempt": 1, "delivered_to": "https://your-domain.com/api/webhooks/telnyx/voice"},
    },
    "ai.assistant.transcript": {
        "data": {
            "record_type": "event",
            "event_type": "ai.assistant.transcript",
            "id": "5a2f7c9e-1a43-4e6e-9d0c-6a2f0d7b1c02",
            "occurred_at": "2025-01-15T10:00:11.000000Z",
            "payload": {**_CALL, "role": "user", "text": "I'd like an appointment on Friday.", "is_final": True},
        }
    },
    "ai.assistant.tool_call": {
        "data": {
            "record_type": "event",
            "event_type": "ai.assistant.tool_call",
            "id": "c7d1e0a4-55b1-4a0e-8c39-0e6f2f1d7b03",
            "occurred_at": "2025-01-15T10:01:20.000000Z",
            "payload": {
                **_CALL,
                "tool_call_id": "call_8Xk2",
                "name": "book_appointment",
                "arguments": {"day": "2025-01-17"},
                "status": "succeeded",
                "duration_ms": 412,
            },
        }
    },
}
_KEPT = "The webhook was kept but can't be used: "


def _endpoint(path: str, name: str, summary: str, *examples: str) -> Endpoint:
    return Endpoint(
        method="POST",
        path=path,
        handler=receive_webhook,
        id=name,
        tag=_TAG,
        summary=summary,
        description="Takes one event of any type; both endpoints do. The signature is the authentication: no bearer "
        "token, no rate limit. An answer comes within 1.5 s, and a 200 means that the event survives any crash that "
        "follows. Events may come late, twice and in any order.",
        security=_SECURITY,
        body=Body(
            description="The event as Telnyx sends it: the bytes are verified as they come. Beyond the event's id and "
            "type nothing is required.",
            type=Envelope | BareEvent,
            examples={name: _EXAMPLES[name] for name in examples},
        ),
        answers={
            200: Answer(
                description="It is stored durably.",
                body=WebhookAnswer,
                examples={result.value: {"status": result.value} for result in Result},
            ),
            400: failure(
                "It is signed but can't be used: not JSON, nested more than 100 levels deep (unless the operator says "
                "otherwise), or without an event's id or type. It is kept, with the reason.",
                f"{_KEPT}the body is not JSON",
                f"{_KEPT}the body is nested more than 100 levels deep",
                f"{_KEPT}the event has no id",
                f"{_KEPT}the event has no type",
            ),
            401: failure(
                f"The signature is missing, malformed or wrong, or over {TOLERANCE_SECONDS} s off; nothing is stored.",
                InvalidWebhookSignature.message,
            ),
            413: failure("The body is over 1 MiB, unless the operator says otherwise.", "Request body is too large"),
            503: failure(
                "It is not certain that the event is stored: send it again.",
                "Service unavailable",
                "The webhook could not be stored in time",
                headers=_RETRY,
            ),
        },
    )


ENDPOINTS = (
    _endpoint("/api/webhooks/telnyx/voice", "receiveVoiceWebhook", "Receive a Telnyx voice event", "call.initiated"),
    _endpoint(
        "/api/webhooks/telnyx/voice/conversational-ai",
        "receiveConversationalAiWebhook",
        "Receive a Telnyx conversational AI event",
        "ai.assistant.transcript",
        "ai.assistant.tool_call",
    ),
)
