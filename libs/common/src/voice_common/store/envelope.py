"""Telnyx's event envelope, read leniently: nothing in a payload is guaranteed.

``{"data": {event_type, id, occurred_at, payload}, "meta": …}``; bodies without ``data`` have their fields at the top.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from voice_common.ids import is_conversation_id
from voice_common.times import read_event_time

_LONGEST_ID = 256
_MOST_DIGITS = 4300  # Python reads no more as an int, since that takes quadratic time
_HUGE = re.compile(rb"\d{%d}" % (_MOST_DIGITS + 1))
_HIGH, _LOW = rb"\\u[dD][89abAB][0-9a-fA-F]{2}", rb"\\u[dD][c-fC-F][0-9a-fA-F]{2}"
_LONE = re.compile(rb"%b(?!%b)|(?<!%b)%b" % (_HIGH, _LOW, _HIGH, _LOW))
_FOLDERS = frozenset({".", ".."})
"""They have the form of a conversation id, and no path can name them."""

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


def read_envelope(body: bytes, *, received_at: int, deepest: int | None = None) -> Envelope:
    """Read an event; `received_at` stands in where it says no time.

    Raises `UnreadableEventError` where the body is no JSON object, has no event id or type, or is nested more than
    `deepest` levels deep. That is for what is new: what was stored once is read whatever the limit is by now.
    """
    document = read_json(body)
    if deepest is not None and is_deeper(body, document, deepest):
        raise UnreadableEventError(f"the body is nested more than {deepest} levels deep")
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
    if session is not None and (not is_conversation_id(session) or session in _FOLDERS):
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
        body = _without_surrogates(body)
    try:
        # A function of ours for each number would make a body of numbers alone hold up the event loop.
        whole = _whole if _HUGE.search(body) else None
        return json.loads(body.decode(), parse_constant=_refuse, parse_int=whole)
    except ValueError as error:
        raise UnreadableEventError("the body is not JSON") from error
    except RecursionError as error:
        raise UnreadableEventError("the body is nested too deeply") from error


def is_deeper(body: bytes, document: object, levels: int) -> bool:
    """Tell whether a body, which `document` was read from, has more than so many objects and lists in one another."""
    if body.count(b"{") + body.count(b"[") <= levels:  # so it is with nearly all events
        return False
    level: list[Any] = [document]
    for _ in range(levels + 1):
        nodes = [node for node in level if isinstance(node, dict | list)]
        if not nodes:
            return False
        level = list(itertools.chain.from_iterable(node.values() if isinstance(node, dict) else node for node in nodes))
    return True


def _occurred_at(data: Mapping[str, Any], payload: Mapping[str, Any], received_at: int) -> int:
    for candidate in (data.get("occurred_at"), payload.get("occurred_at"), data.get("created_at")):
        if (moment := read_event_time(candidate)) is not None:
            return moment
    return received_at


def _refuse(constant: str) -> object:
    raise ValueError(f"{constant} is not JSON")


def _whole(digits: str) -> float:
    """Read a whole number; one that no double can hold is infinite, as it is with an exponent."""
    return int(digits) if len(digits) <= _MOST_DIGITS else float(digits)


def _without_surrogates(body: bytes) -> bytes:
    """Put ``?`` for each escape of half a surrogate pair, by patterns alone: to walk the values can take 200 ms."""
    if b"\0" in body:  # no JSON; and it stands for an escaped backslash below
        return body
    return _LONE.sub(b"?", body.replace(rb"\\", b"\0")).replace(b"\0", rb"\\")
