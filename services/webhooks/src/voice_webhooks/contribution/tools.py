"""What an event says of tool calls: that one began, and how it ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import orjson

from voice_common.store.envelope import Envelope, read_id
from voice_common.store.lattice import Stamped
from voice_common.store.state import Outcome, ToolCall
from voice_webhooks.contribution.histories import GATHERS, HISTORIES, messages_of
from voice_webhooks.contribution.values import flag_of, json_text_of, number_of, object_of, objects_of, text_of, word_of

_SUCCEEDED = frozenset({"succeeded", "success", "completed", "ok"})
_FAILED = frozenset({"failed", "error", "timeout"})


def tools_of(envelope: Envelope) -> dict[str, ToolCall]:
    """Give the tool calls that the event tells of, by their id."""
    if envelope.type == "ai.assistant.tool_call":
        return _tool_call_event(envelope)
    return _in_history(envelope) if envelope.type in HISTORIES else {}


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
    at = envelope.occurred_at
    own = None if outcome is None else Stamped(at, envelope.event, outcome)
    return {key: _tool(envelope, payload.get("name"), payload.get("arguments"), at, outcome=own)}


def _succeeded(payload: Mapping[str, Any]) -> bool | None:
    status = word_of(payload.get("status"))
    if status in _SUCCEEDED:
        return True
    return False if status in _FAILED else flag_of(payload.get("success"))


def _in_history(envelope: Envelope) -> dict[str, ToolCall]:
    """Read the tool calls of a history, and the ``tool`` messages that answer them: those are their outcomes."""
    tools: dict[str, ToolCall] = {}
    # A gather tells its history again each time: a call without an id is known by its place there.
    nameless = "gather" if envelope.type in GATHERS else envelope.event
    for place, told in enumerate(messages_of(envelope)):
        for number, call in enumerate(objects_of(told.message.get("tool_calls"))):
            function = object_of(call.get("function"))
            key = read_id(call.get("id")) or f"{nameless}:{place}:{number}"
            name, arguments = function.get("name"), function.get("arguments")
            _add(tools, key, _tool(envelope, name, arguments, told.at, place=len(tools)))
        answered = read_id(told.message.get("tool_call_id")) if told.role == "tool" else None
        if answered:
            answer = Stamped(told.at, envelope.event, _outcome_in(told.text))
            name = told.message.get("name")
            _add(tools, answered, _tool(envelope, name, None, told.at, place=len(tools), answer=answer))
    return tools


def _outcome_in(content: str | None) -> Outcome:
    """Read what a tool answered: failed where that is an object that says so, else succeeded."""
    try:
        said = object_of(orjson.loads(content or ""))
    except orjson.JSONDecodeError:
        said = {}
    error = said.get("error")
    erred = bool(error) and flag_of(error) is not False
    failed = erred or flag_of(said.get("success")) is False or word_of(said.get("status")) in _FAILED
    return Outcome(not failed, json_text_of(error) if erred else None, None)


def _add(tools: dict[str, ToolCall], key: str, tool: ToolCall) -> None:
    known = tools.get(key)
    if known is None:
        tools[key] = tool
        return
    joined = known.join(tool)
    # Where neither time nor event tells them apart, their order in the history does: it began first, it ended last.
    seen = known.seen if known.seen.at == tool.seen.at else joined.seen
    tied = known.answer and tool.answer and known.answer.at == tool.answer.at
    tools[key] = replace(joined, seen=seen, answer=tool.answer if tied else joined.answer)


def _tool(
    envelope: Envelope,
    name: object,
    arguments: object,
    at: int,
    *,
    place: int | None = None,
    outcome: Stamped[Outcome] | None = None,
    answer: Stamped[Outcome] | None = None,
) -> ToolCall:
    event = envelope.event
    said_name, said_arguments = text_of(name), json_text_of(arguments)
    return ToolCall(
        Stamped(at, event, place),
        None if said_name is None else Stamped(at, event, said_name),
        None if said_arguments is None else Stamped(at, event, said_arguments),
        outcome,
        answer,
    )
