"""The routes that the gateway forwards, each with what its callers are told of it."""

from __future__ import annotations

from typing import Any

from voice_common.ids import CONVERSATION_ID_PATTERN
from voice_common.web.openapi import Answer, Endpoint, failure
from voice_common.web.shapes import Error
from voice_recordings.handlers import get_conversation, get_recording, list_conversations, list_messages
from voice_recordings.parameters import ListQuery, Status
from voice_recordings.shapes import (
    Conversation,
    ConversationAnswer,
    ConversationPage,
    Message,
    NoRecordingAnswer,
    RecordingAnswer,
)

_CONVERSATIONS, _RECORDINGS = "Conversations", "Recordings"
_ID = "1f4e8c60-3bd7-4e5a-9d2e-0b6c2b8f7a11"
_PARAMETER: dict[str, Any] = {
    "description": "Id of the conversation: Telnyx's `call_session_id`, a UUID.",
    "schema": {"type": "string", "pattern": CONVERSATION_ID_PATTERN},
    "example": _ID,
}
_BAD_ID = "A conversation id is 1 to 128 characters of A-Za-z0-9._:-"
_UNKNOWN = "Conversation not found"
_UNKNOWN_QUERY = "Unknown query parameter verbose"
_NOT_FOUND = failure("The tenant has no such conversation. Another tenant's is none, too.", _UNKNOWN)
_CALL: Conversation = {
    "id": _ID,
    "channel": "voice",
    "status": Status.COMPLETED,
    "direction": "inbound",
    "from": "+13125550142",
    "to": "+13125550100",
    "started_at": "2025-01-15T10:00:00Z",
    "answered_at": "2025-01-15T10:00:03.250Z",
    "ended_at": "2025-01-15T10:04:08.250Z",
    "duration_seconds": 245,
    "sentiment": "positive",
    "recording_available": True,
}
_PAGE: ConversationPage = {
    "conversations": [_CALL],
    "total": 142,
    "total_relation": "eq",
    "limit": 1,
    "offset": 0,
    "next_cursor": "MTczNjkzNTIwMDAwMC4xZjRlOGM2MC0zYmQ3LTRlNWEtOWQyZS0wYjZjMmI4ZjdhMTE",
}
_EMPTY: ConversationPage = {
    "conversations": [],
    "total": 0,
    "total_relation": "eq",
    "limit": 50,
    "offset": 0,
    "next_cursor": None,
}
_DETAIL: ConversationAnswer = {
    "conversation": {
        **_CALL,
        "hangup_cause": "normal_clearing",
        "tool_calls": [
            {
                "id": "call_8Xk2",
                "name": "book_appointment",
                "arguments": '{"day":"2025-01-17"}',
                "status": "succeeded",
                "error": None,
                "duration_ms": 412,
                "started_at": "2025-01-15T10:01:20Z",
            }
        ],
        "message_count": 2,
    }
}
_TRANSCRIPT: list[Message] = [
    {
        "id": "0d6e7a1c-8b8e-4c55-8f0d-0b4d4a6f1b01",
        "role": "assistant",
        "content": "Good morning, how can I help you?",
        "created_at": "2025-01-15T10:00:05Z",
    },
    {
        "id": "5a2f7c9e-1a43-4e6e-9d0c-6a2f0d7b1c02",
        "role": "user",
        "content": "I'd like an appointment on Friday.",
        "created_at": "2025-01-15T10:00:11Z",
    },
]
_RECORDING: RecordingAnswer = {
    "recording": {
        "id": "recording-123",
        "urls": ["https://telnyx.com/recordings/recording-123.mp3"],
        "duration_seconds": 245,
        "available": True,
        "started_at": "2025-01-15T10:00:00Z",
        "ended_at": "2025-01-15T10:04:05Z",
    }
}
_NO_RECORDING: NoRecordingAnswer = {
    "recording": {
        "id": None,
        "urls": None,
        "duration_seconds": None,
        "available": False,
        "started_at": "2025-01-15T10:00:00Z",
        "ended_at": "2025-01-15T10:04:05Z",
    }
}
_LINKS = {
    "Conversation": {"operationId": "getConversation", "parameters": {"id": "$response.body#/conversations/0/id"}},
    "Messages": {"operationId": "listMessages", "parameters": {"id": "$response.body#/conversations/0/id"}},
    "Recording": {
        "operationId": "getRecording",
        "parameters": {"conversationId": "$response.body#/conversations/0/id"},
    },
    "NextPage": {"operationId": "listConversations", "parameters": {"cursor": "$response.body#/next_cursor"}},
}

# The patterns of ids are wider than aiohttp's own, which has no braces: a bad id is a 400, not an unknown route.
ENDPOINTS = (
    Endpoint(
        method="GET",
        path="/api/voice/recordings/{conversationId:[^/]+}",
        handler=get_recording,
        id="getRecording",
        tag=_RECORDINGS,
        summary="Get call recording",
        description="The latest recording of a conversation. Telnyx's own URLs of a recording last for 10 minutes "
        "unless the account has public ones. A recording that lies in an account's own storage (`gs://`, `s3://`, "
        "Azure) has none that a client could follow, and is not available here.",
        parameters={"conversationId": _PARAMETER},
        answers={
            200: Answer(
                description="The recording can be listened to.",
                body=RecordingAnswer,
                examples={"recording": _RECORDING},
            ),
            400: failure("The id or the query can't be understood; the sentence names what.", _BAD_ID, _UNKNOWN_QUERY),
            404: Answer(
                description="The conversation has no recording; or the tenant has no such conversation.",
                body=NoRecordingAnswer | Error,
                examples={"no recording": _NO_RECORDING, _UNKNOWN: {"error": _UNKNOWN}},
            ),
        },
    ),
    Endpoint(
        method="GET",
        path="/api/conversations",
        handler=list_conversations,
        id="listConversations",
        tag=_CONVERSATIONS,
        summary="List conversations",
        description="The tenant's conversations, newest first, ties by id. To read on, ask with the answer's "
        "`next_cursor`: no call is left out or shown twice when others arrive in between.",
        query=ListQuery,
        answers={
            200: Answer(
                description="A page of the list.",
                body=ConversationPage,
                examples={"page": _PAGE, "no conversations": _EMPTY},
                links=_LINKS,
            ),
            400: failure(
                "The query can't be understood; the sentence names what.",
                "status must be active, completed or failed",
                "channel must not be empty",
                "limit must be a whole number from 1 to 200",
                "cursor must be the next_cursor of an earlier answer",
                "cursor and offset can't be given together",
                "start_date must not be after end_date",
                "Unknown query parameter page",
            ),
        },
    ),
    Endpoint(
        method="GET",
        path="/api/conversations/{id:[^/]+}",
        handler=get_conversation,
        id="getConversation",
        tag=_CONVERSATIONS,
        summary="Get a conversation",
        description="One conversation, with its hangup cause and tool calls.",
        parameters={"id": _PARAMETER},
        answers={
            200: Answer(description="The conversation.", body=ConversationAnswer, examples={"conversation": _DETAIL}),
            400: failure("The id or the query can't be understood; the sentence names what.", _BAD_ID, _UNKNOWN_QUERY),
            404: _NOT_FOUND,
        },
    ),
    Endpoint(
        method="GET",
        path="/api/conversations/{id:[^/]+}/messages",
        handler=list_messages,
        id="listMessages",
        tag=_CONVERSATIONS,
        summary="Get conversation messages",
        description="The transcript of a conversation, oldest first: final utterances only, none twice.",
        parameters={"id": _PARAMETER},
        answers={
            200: Answer(
                description="The messages of the user and the assistant.",
                body=list[Message],
                examples={"transcript": _TRANSCRIPT, "nothing was said": []},
            ),
            400: failure("The id or the query can't be understood; the sentence names what.", _BAD_ID, _UNKNOWN_QUERY),
            404: _NOT_FOUND,
        },
    ),
)
