"""What an event says of tool calls: that one began, and how it ended."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from voice_common.store.envelope import Envelope, read_id
from voice_common.store.lattice import Stamped
from voice_common.store.state import Outcome, ToolCall
from voice_webhooks.contribution.values import flag_of, json_text_of, number_of, object_of, objects_of, text_of, word_of

_SUCCEEDED = frozenset({"succeeded", "success", "completed", "ok"})
_FAILED = frozenset({"failed", "error", "timeout"})


def tools_of(envelope: Envelope) -> dict[str, ToolCall]:
    """Give the tool calls that the event tells of, by their id."""
    if envelope.type == "ai.assistant.tool_call":
        return _tool_call_event(envelope)
    if envelope.type == "call.conversation.ended":
        return _in_messages(envelope)
    return {}


def _tool_call_event(envelope: Envelope) -> dict[str, ToolCall]:
    payload = envelope.payload
    succeeded = _succeeded(payload)
    duration = number_of(payload.get("duration_ms"))
    outcome = (
        None
        if succeeded is None
        else Outcome(
            succeeded, json_text_of(payload.get("error")), None if duration is None else max(0, round(duration))
        )
    )
    key = read_id(payload.get("tool_call_id")) or envelope.event
    return {key: _tool(envelope, payload.get("name"), payload.get("arguments"), outcome)}


def _succeeded(payload: Mapping[str, Any]) -> bool | None:
    status = word_of(payload.get("status"))
    if status in _SUCCEEDED:
        return True
    return False if status in _FAILED else flag_of(payload.get("success"))


def _in_messages(envelope: Envelope) -> dict[str, ToolCall]:
    """Read the tool calls of a conversation's messages; they say that a call was made, not how it ended."""
    tools = {}
    for place, message in enumerate(objects_of(envelope.payload.get("messages"))):
        for number, call in enumerate(objects_of(message.get("tool_calls"))):
            function = object_of(call.get("function"))
            key = read_id(call.get("id")) or f"{envelope.event}:{place}:{number}"
            tools[key] = _tool(envelope, function.get("name"), function.get("arguments"), None)
    return tools


def _tool(envelope: Envelope, name: object, arguments: object, outcome: Outcome | None) -> ToolCall:
    at, event = envelope.occurred_at, envelope.event
    said_name, said_arguments = text_of(name), json_text_of(arguments)
    return ToolCall(
        Stamped(at, event, None),
        None if said_name is None else Stamped(at, event, said_name),
        None if said_arguments is None else Stamped(at, event, said_arguments),
        None if outcome is None else Stamped(at, event, outcome),
    )
