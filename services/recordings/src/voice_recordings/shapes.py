"""The answers of recordings and conversations: exactly these keys (API reference, contract §6 and §7)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, WithJsonSchema
from typing_extensions import TypedDict

from voice_common.ids import CONVERSATION_ID_PATTERN
from voice_common.web.shapes import Timestamp, closed
from voice_recordings.conversations import COUNTED
from voice_recordings.parameters import Status

ConversationId = Annotated[str, Field(pattern=CONVERSATION_ID_PATTERN)]
Count = Annotated[int, Field(ge=0)]
Direction = Annotated[str, WithJsonSchema({"type": "string", "enum": ["inbound", "outbound"]})]
Sentiment = Annotated[str, WithJsonSchema({"type": "string", "enum": ["positive", "neutral", "negative"]})]
Role = Annotated[str, WithJsonSchema({"type": "string", "enum": ["user", "assistant"]})]

_Parties = TypedDict(
    "_Parties",
    {  # a class can't have a field of this name
        "from": Annotated[str | None, Field(description="Who called: a number or a SIP URI.")],
        "to": Annotated[str | None, Field(description="Who was called: a number or a SIP URI.")],
    },
)


@closed
class Conversation(_Parties):
    """One Telnyx call session, as it is listed."""

    id: Annotated[ConversationId, Field(description="Telnyx's `call_session_id`.")]
    channel: Annotated[str, WithJsonSchema({"type": "string", "const": "voice"})]
    status: Annotated[
        Status,
        Field(
            description="`active` while the call goes on, `completed` when it was answered and ended, `failed` when it "
            "was never answered or fell silent without an end."
        ),
    ]
    direction: Direction | None
    started_at: Annotated[Timestamp, Field(description="The earliest moment that any of the call's events tells of.")]
    answered_at: Timestamp | None
    ended_at: Annotated[Timestamp | None, Field(description="When the last leg hung up; `null` before.")]
    duration_seconds: Annotated[
        float | None, Field(description="`ended_at` less `answered_at` of a completed call; else `null`.")
    ]
    sentiment: Annotated[
        Sentiment | None,
        Field(
            description="The provider's label, the latest one; else computed from what the caller said, taken "
            "together, where that is English: at least three words, and English with a certainty of at least 0.7. "
            "Other languages are not scored: `null` without a label, as is what is too short to tell."
        ),
    ]
    recording_available: Annotated[bool, Field(description="Whether a recording can be listened to.")]


@closed
class ToolCall(TypedDict):
    """A call that the assistant made to a tool."""

    id: str
    name: str | None
    arguments: Annotated[
        str | None, Field(description="As the assistant gave them: JSON text as a rule, but it may be any text.")
    ]
    status: Annotated[
        Literal["started", "succeeded", "failed"], Field(description="`started` until an outcome is known.")
    ]
    error: str | None
    duration_ms: int | None
    started_at: Timestamp


@closed
class ConversationDetail(Conversation):
    """One call, with what only its own page shows."""

    hangup_cause: Annotated[
        str | None, Field(description="Of the latest hangup, in Telnyx's words, an open set: `normal_clearing`, …")
    ]
    tool_calls: Annotated[list[ToolCall], Field(description="In the order in which they began.")]
    message_count: Annotated[Count, Field(description="Messages of the transcript.")]


@closed
class ConversationAnswer(TypedDict):
    """One conversation."""

    conversation: ConversationDetail


@closed
class ConversationPage(TypedDict):
    """A page of conversations, newest first."""

    conversations: list[Conversation]
    total: Annotated[
        int, Field(ge=0, le=COUNTED, description="How many conversations there are in all, counted up to 10,000.")
    ]
    total_relation: Annotated[Literal["eq", "gte"], Field(description="`gte` where there are more than were counted.")]
    limit: Annotated[int, Field(ge=1, le=200)]
    offset: Count
    next_cursor: Annotated[str | None, Field(description="`cursor` of the next page; `null` on the last one.")]


@closed
class Message(TypedDict):
    """One utterance of the transcript."""

    id: str
    role: Role
    content: str
    created_at: Timestamp


@closed
class Recording(TypedDict):
    """A recording that can be listened to, with its own times."""

    id: str
    urls: Annotated[list[str], Field(min_length=1, description="All formats, mp3 first; `http` and `https` only.")]
    duration_seconds: Annotated[
        int | None, Field(description="Whole seconds; `null` where Telnyx told no start or end.")
    ]
    available: Literal[True]
    started_at: Timestamp | None
    ended_at: Timestamp | None


@closed
class NoRecording(TypedDict):
    """What there is of a call without a recording: the call's own times."""

    id: None
    urls: None
    duration_seconds: None
    available: Literal[False]
    started_at: Timestamp
    ended_at: Timestamp | None


@closed
class RecordingAnswer(TypedDict):
    """A call's latest recording."""

    recording: Recording


@closed
class NoRecordingAnswer(TypedDict):
    """The call exists and has no recording."""

    recording: NoRecording
