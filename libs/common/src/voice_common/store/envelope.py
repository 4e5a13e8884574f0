"""Telnyx's event envelope, read leniently: nothing in a payload is guaranteed.

``{"data": {event_type, id, occurred_at, payload}, "meta": …}``; bodies without ``data`` have their fields at the top.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from voice_common.ids import is_conversation_id
from voice_common.times import read_event_time

_LONGEST_ID = 256
_FOREIGN = (("leg", "call_leg_id"), ("control", "call_control_id"), ("conversation", "conversation_id"))


class UnreadableEventError(Exception):
    """A body is not JSON, or names no event id or type; the text says which."""


@dataclass(frozen=True, slots=True)
class Envelope:
    """One event as far as every type has it; times in milliseconds.

    `session` is the call's id; `ids` are the other ids that name the call (``leg:…``, ``control:…``,
    ``conversation:…``); `stream` is the key under which the event is stored, a function of the payload alone.
    """

    event: str
    type: str
    occurred_at: int
    payload: Mapping[str, Any]
    session: str | None
    ids: frozenset[str]
    stream: str


def read_envelope(body: bytes, *, received_at: int) -> Envelope:
    """Read an event; `received_at` stands in where it says no time.

    Raises `UnreadableEventError` where the body is no JSON object or has no event id or type.
    """
    document = read_json(body)
    if not isinstance(document, dict):
        raise UnreadableEventError("the body is not a JSON object")
    data = document.get("data")
    if not isinstance(data, dict):
        data = document
    event, kind = read_id(data.get("id")), data.get("event_type")
    if event is None:
        raise UnreadableEventError("the event has no id")
    if not isinstance(kind, str) or not kind:
        raise UnreadableEventError("the event has no type")
    payload = data.get("payload")
    if not isinstance(payload, dict):
        payload = {}
    session = read_id(payload.get("call_session_id"))
    if session is not None and not is_conversation_id(session):
        session = None
    foreign = [f"{name}:{value}" for name, key in _FOREIGN if (value := read_id(payload.get(key))) is not None]
    stream = f"session:{session}" if session is not None else next(iter(foreign), f"event:{event}")
    return Envelope(
        event,
        kind[:_LONGEST_ID],
        _occurred_at(data, payload, received_at),
        payload,
        session,
        frozenset(foreign),
        stream,
    )


def session_of(stream: str) -> str | None:
    """Give the session that a stream is, or ``None`` for one that must be tied to a session first."""
    return stream.removeprefix("session:") if stream.startswith("session:") else None


def read_id(value: object) -> str | None:
    """Read an id: a string or a number that is not empty; one too long for a key is known by its SHA-256."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or not value:
        return None
    return value if len(value) <= _LONGEST_ID else f"sha256:{hashlib.sha256(value.encode()).hexdigest()}"


def read_json(body: bytes) -> object:
    """Parse JSON (RFC 8259); lone surrogates, which are legal there but no text, are replaced.

    Raises `UnreadableEventError`.
    """
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        pass
    try:
        return _without_surrogates(json.loads(body.decode(), parse_constant=_refuse))
    except (ValueError, RecursionError) as error:
        raise UnreadableEventError("the body is not JSON") from error


def _occurred_at(data: Mapping[str, Any], payload: Mapping[str, Any], received_at: int) -> int:
    for candidate in (data.get("occurred_at"), payload.get("occurred_at"), data.get("created_at")):
        if (moment := read_event_time(candidate)) is not None:
            return moment
    return received_at


def _refuse(constant: str) -> object:
    raise ValueError(f"{constant} is not JSON")


def _without_surrogates(value: object) -> object:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, list):
        return [_without_surrogates(item) for item in value]
    if isinstance(value, dict):
        return {str(_without_surrogates(key)): _without_surrogates(item) for key, item in value.items()}
    return value
