"""The bodies of the answers, exactly the keys of the contract."""

from __future__ import annotations

from typing import Literal

from voice_common.store.facts import Message, Recording
from voice_common.store.state import ToolCall
from voice_common.times import render_ms, render_optional_ms
from voice_recordings import shapes
from voice_recordings.conversations import Conversation, Page
from voice_recordings.parameters import VOICE

_SECOND_MS = 1000


def page(found: Page, *, limit: int, offset: int) -> shapes.ConversationPage:
    """Give a page of the list; `offset` counts from the cursor where there is one."""
    return {
        "conversations": [conversation(one) for one in found.conversations],
        "total": found.total,
        "total_relation": "eq" if found.is_exact else "gte",
        "limit": limit,
        "offset": offset,
        "next_cursor": None if found.next is None else found.next.to_cursor(),
    }


def conversation(one: Conversation) -> shapes.Conversation:
    """Give a conversation as it is listed."""
    return {
        "id": one.id,
        "channel": VOICE,
        "status": one.status,
        "direction": one.direction,
        "from": one.caller,
        "to": one.callee,
        "started_at": render_ms(one.started_at),
        "answered_at": render_optional_ms(one.answered_at),
        "ended_at": render_optional_ms(one.ended_at),
        "duration_seconds": exact_seconds(one.duration_ms),
        "sentiment": one.sentiment,
        "recording_available": one.recording_available,
    }


def detail(one: Conversation, tool_calls: list[tuple[str, ToolCall]]) -> shapes.ConversationAnswer:
    """Give a conversation with what only its own page shows."""
    return {
        "conversation": {
            **conversation(one),
            "hangup_cause": one.hangup_cause,
            "tool_calls": [tool_call(key, call) for key, call in tool_calls],
            "message_count": one.message_count,
        }
    }


def tool_call(key: str, call: ToolCall) -> shapes.ToolCall:
    """Give a tool call: ``started`` until an outcome of it is known."""
    outcome = call.ended
    ended: Literal["succeeded", "failed"] = "succeeded" if outcome is not None and outcome.succeeded else "failed"
    return {
        "id": key,
        "name": None if call.name is None else call.name.value,
        "arguments": None if call.arguments is None else call.arguments.value,
        "status": "started" if outcome is None else ended,
        "error": None if outcome is None else outcome.error,
        "duration_ms": None if outcome is None else outcome.duration_ms,
        "started_at": render_ms(call.seen.at),
    }


def messages(said: list[Message]) -> list[shapes.Message]:
    """Give a transcript."""
    return [
        {"id": one.id, "role": one.role, "content": one.content, "created_at": render_ms(one.created_at)}
        for one in said
    ]


def recording(found: Recording) -> shapes.RecordingAnswer:
    """Give a recording that can be listened to, with its own times."""
    return {
        "recording": {
            "id": found.id,
            "urls": list(found.urls),
            "duration_seconds": None
            if found.started_at is None or found.ended_at is None
            else whole_seconds(max(0, found.ended_at - found.started_at)),
            "available": True,
            "started_at": render_optional_ms(found.started_at),
            "ended_at": render_optional_ms(found.ended_at),
        }
    }


def no_recording(one: Conversation) -> shapes.NoRecordingAnswer:
    """Give the answer for a call without a recording, with the call's own times."""
    return {
        "recording": {
            "id": None,
            "urls": None,
            "duration_seconds": None,
            "available": False,
            "started_at": render_ms(one.started_at),
            "ended_at": render_optional_ms(one.ended_at),
        }
    }


def exact_seconds(ms: int | None) -> float | None:
    """Give whole milliseconds as seconds: an integer where they are whole."""
    if ms is None:
        return None
    return ms / _SECOND_MS if ms % _SECOND_MS else ms // _SECOND_MS


def whole_seconds(ms: int) -> int:
    """Give whole milliseconds as whole seconds, rounded half to even."""
    seconds, rest = divmod(ms, _SECOND_MS)
    return seconds + (2 * rest > _SECOND_MS or (2 * rest == _SECOND_MS and seconds % 2 == 1))
