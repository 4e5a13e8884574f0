"""What an event says of the call's legs: who called whom, what was answered, what has ended."""

from __future__ import annotations

from voice_common.store.envelope import Envelope, read_id
from voice_common.store.lattice import Stamped
from voice_common.store.legs import Hangup, Leg
from voice_common.times import read_event_time
from voice_webhooks.contribution.values import text_of, word_of

_DIRECTIONS = {"incoming": "inbound", "inbound": "inbound", "outgoing": "outbound", "outbound": "outbound"}
_ANSWERED = "call.answered"
_OPENING = frozenset({"call.initiated", _ANSWERED})
_HANGUP = "call.hangup"


def spoken_start(envelope: Envelope) -> int:
    """Give the earliest time that the event speaks of: its ``start_time``, else when it occurred."""
    start = read_event_time(envelope.payload.get("start_time"))
    return envelope.occurred_at if start is None else start


def direction_of(value: object) -> str | None:
    """Read a direction in Telnyx's words or in ours."""
    return _DIRECTIONS.get(word_of(value))


def leg_of(envelope: Envelope) -> str:
    """Give the key of the leg that the event names: by its leg id, else by its control id; ``""`` for none."""
    leg = read_id(envelope.payload.get("call_leg_id"))
    if leg:
        return f"leg:{leg}"
    control = read_id(envelope.payload.get("call_control_id"))
    return f"control:{control}" if control else ""


def legs_of(envelope: Envelope) -> dict[str, Leg]:
    """Give the leg that the event speaks of, by leg id, else by control id, else without a name."""
    payload = envelope.payload
    opened, hung_up = envelope.type in _OPENING, envelope.type == _HANGUP
    direction = direction_of(payload.get("direction"))
    caller, callee = text_of(payload.get("from")), text_of(payload.get("to"))
    key = leg_of(envelope)
    if not key and not (opened or hung_up or direction or caller or callee):
        return {}
    return {
        key: Leg(
            Stamped(spoken_start(envelope), envelope.event, None),
            _said(envelope, direction),
            _said(envelope, caller),
            _said(envelope, callee),
            opened,
            hung_up,
            envelope.type == _ANSWERED,
            Stamped(envelope.occurred_at, envelope.event, None),
        )
    }


def links_of(envelope: Envelope) -> frozenset[tuple[str, str]]:
    """Give the pair of leg and control id that name one leg, where the event has both."""
    leg, control = read_id(envelope.payload.get("call_leg_id")), read_id(envelope.payload.get("call_control_id"))
    return frozenset({(f"leg:{leg}", f"control:{control}")}) if leg and control else frozenset()


def hangup_of(envelope: Envelope) -> Stamped[Hangup] | None:
    """Give when and why a leg ended, where the event is a hangup."""
    if envelope.type != _HANGUP:
        return None
    ended_at = read_event_time(envelope.payload.get("end_time"))
    cause = text_of(envelope.payload.get("hangup_cause"))
    return Stamped(
        envelope.occurred_at, envelope.event, Hangup(envelope.occurred_at if ended_at is None else ended_at, cause)
    )


def _said(envelope: Envelope, value: str | None) -> Stamped[str] | None:
    return None if value is None else Stamped(envelope.occurred_at, envelope.event, value)
