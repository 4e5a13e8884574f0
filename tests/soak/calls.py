"""Calls of a tenant: the events that tell of one, and beside them what is true of it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from random import Random
from typing import Any

from soak.marks import Mark
from voice_common.times import HOUR_MS, render_ms
from voice_local.simulation import phrases
from voice_local.simulation.story import Call as Truth

VOICE = "/api/webhooks/telnyx/voice"
CONVERSATIONAL_AI = "/api/webhooks/telnyx/voice/conversational-ai"
SILENT_FOR = 5 * HOUR_MS
"""A call whose newest event is older has failed where its end was never told (the limit is 4 h 10 min)."""


@dataclass(frozen=True)
class Event:
    """One event as it is sent."""

    id: str
    path: str
    body: bytes


@dataclass(frozen=True)
class Call:
    """What the API must say of one call; times in milliseconds."""

    truth: Truth
    direction: str
    caller: str
    callee: str
    newest_at: int
    hangup_cause: str | None
    messages: tuple[dict[str, Any], ...]
    tools: tuple[dict[str, Any], ...]
    recording: dict[str, Any] | None
    events: tuple[Event, ...]

    @property
    def id(self) -> str:
        return self.truth.session

    def status(self, now: int) -> str:
        if self.truth.ended_at is not None:
            return "completed" if self.truth.answered_at is not None else "failed"
        return "failed" if now - self.newest_at > SILENT_FOR - HOUR_MS else "active"


@dataclass
class _Teller:
    """Tells one call; `now` is the moment of the next event."""

    mark: Mark
    connection: str
    rng: Random
    now: int
    ids: dict[str, str] = field(default_factory=dict)
    told: list[Event] = field(default_factory=list)
    newest_at: int = 0

    def wait(self, least: int, most: int) -> None:
        self.now += self.rng.randrange(least, most)

    def tell(self, kind: str, **payload: Any) -> str:
        """Tell of what happens now; what is ``...`` is left out. Gives the event's id."""
        event = self.mark.id(self.rng)
        said = {"connection_id": self.connection, **self.ids, **payload}
        data = {
            "record_type": "event",
            "event_type": kind,
            "id": event,
            "occurred_at": render_ms(self.now),
            "payload": {name: value for name, value in said.items() if value is not ...},
        }
        path = CONVERSATIONAL_AI if kind.startswith("ai.") else VOICE
        self.told.append(Event(event, path, json.dumps({"data": data}).encode()))
        self.newest_at = max(self.newest_at, self.now)
        return event


def make_call(mark: Mark, connection: str, rng: Random, now: int) -> Call:
    """Make up a call that began within three days before `now`: long ago, or within the last hour."""
    ago = rng.randrange(2 * SILENT_FOR, 72 * HOUR_MS) if rng.random() < 0.9 else rng.randrange(HOUR_MS // 2, HOUR_MS)
    teller = _Teller(mark, connection, rng, now - ago)
    session, leg = mark.id(rng), mark.id(rng)
    teller.ids |= {"call_session_id": session, "call_leg_id": leg, "call_control_id": f"v3:{mark.id(rng)}"}
    plot = rng.choices((_talk, _unanswered, _endless), (8, 1, 1))[0]
    return plot(teller, session, leg)


def _talk(teller: _Teller, session: str, leg: str) -> Call:
    return _told(teller, session, leg, ends=True)


def _endless(teller: _Teller, session: str, leg: str) -> Call:
    """A call whose end was never told."""
    return _told(teller, session, leg, ends=False)


def _ring(teller: _Teller) -> tuple[str, str, str]:
    rng, digits = teller.rng, teller.mark.digits
    incoming = rng.random() < 0.7
    caller, callee = (f"{digits}{rng.randrange(10_000):04}" for _ in range(2))
    direction = "incoming" if incoming else "outgoing"
    teller.tell("call.initiated", direction=direction, **{"from": caller, "to": callee})
    return ("inbound" if incoming else "outbound"), caller, callee


def _unanswered(teller: _Teller, session: str, _leg: str) -> Call:
    started_at = teller.now
    direction, caller, callee = _ring(teller)
    teller.wait(1_000, 30_000)
    teller.tell("call.hangup", hangup_cause="no_answer", end_time=render_ms(teller.now))
    truth = Truth(session, started_at, None, teller.now, None, recorded=False, tools={}, events=())
    return Call(truth, direction, caller, callee, teller.newest_at, "no_answer", (), (), None, tuple(teller.told))


def _told(teller: _Teller, session: str, leg: str, *, ends: bool) -> Call:
    rng, mark, started_at = teller.rng, teller.mark, teller.now
    direction, caller, callee = _ring(teller)
    teller.wait(500, 5_000)
    answer_is_told = rng.random() < 0.85
    answered_at = teller.now
    if answer_is_told:
        teller.tell("call.answered", start_time=render_ms(started_at), **{"from": caller, "to": callee})
        teller.wait(100, 500)
        messages: list[dict[str, Any]] = []
    else:  # what the assistant says first shows that there was an answer
        text = f"{mark.word} {phrases.GREETING}"
        messages = [_message(teller, teller.tell("ai.assistant.response", text=text), "assistant", text)]
        teller.wait(100, 500)
    mood = rng.choice(sorted(phrases.BY_MOOD))
    messages, tools = _lines(teller, mood) or messages, []  # a transcript counts more than a response
    if rng.random() < 0.5:
        tools.append(_tool(teller))
    sentiment: str | None = mood if any(message["role"] == "user" for message in messages) else None
    if rng.random() < 0.6:
        label = rng.choice((..., "positive", "negative"))
        teller.tell("ai.assistant.ended", reason=f"{mark.word} done", sentiment=label)
        sentiment = sentiment if label is ... else str(label)
        teller.wait(50, 300)
    ended_at = answered_at + rng.randrange(mark.shortest_talk, mark.longest_talk) if ends else None
    recording = None
    if ended_at is not None:
        teller.now = ended_at
        teller.tell("call.hangup", hangup_cause="normal_clearing", end_time=rng.choice((..., render_ms(ended_at))))
        recording = _recording(teller, answered_at)
        teller.wait(100, 900)
        # Some events name only the leg, some only what no tenant claims: they are tied to the call by the others.
        named = {"call_leg_id": leg, "call_control_id": ..., "call_session_id": ...}
        teller.tell("call.cost", total_cost="0.01", **named)
        if rng.random() < 0.3:
            teller.wait(10, 90)
            teller.tell("call.bridged", connection_id=...)
    truth = Truth(
        session,
        started_at,
        answered_at,
        ended_at,
        sentiment,
        recording is not None,
        {tool["id"]: tool["status"] == "succeeded" for tool in tools if tool["status"] != "started"},
        (),
    )
    cause = "normal_clearing" if ends else None
    return Call(
        truth,
        direction,
        caller,
        callee,
        teller.newest_at,
        cause,
        tuple(messages),
        tuple(tools),
        recording,
        tuple(teller.told),
    )


def _lines(teller: _Teller, mood: str) -> list[dict[str, Any]]:
    rng = teller.rng
    said: list[dict[str, Any]] = []
    for turn in range(rng.randrange(5)):
        role = "user" if turn % 2 else "assistant"
        line = rng.choice(phrases.BY_MOOD[mood] if role == "user" else phrases.ANSWERS)
        text = f"{teller.mark.word} {line}"
        if rng.random() < 0.2:
            teller.tell("ai.assistant.transcript", role=role, text=text[:-1], is_final=False)
            teller.wait(50, 500)
        event = teller.tell("ai.assistant.transcript", role=role, text=text, is_final=True)
        said.append(_message(teller, event, role, text))
        teller.wait(500, 4_000)
    return said


def _message(teller: _Teller, event: str, role: str, text: str) -> dict[str, Any]:
    return {"id": event, "role": role, "content": text, "created_at": render_ms(teller.now)}


def _tool(teller: _Teller) -> dict[str, Any]:
    rng, word = teller.rng, teller.mark.word
    known = {"tool_call_id": teller.mark.id(rng), "name": f"find_{word}", "arguments": f'{{"who":"{word}"}}'}
    started_at = teller.now
    teller.tell("ai.assistant.tool_call", status="started", **known)
    teller.wait(50, 900)
    told: dict[str, Any] = {"error": None, "duration_ms": None}
    status = rng.choices(("succeeded", "failed", "started"), (6, 2, 1))[0]
    if status != "started":
        told = {"error": f"{word} is away" if status == "failed" else None, "duration_ms": rng.randrange(900)}
        said = {name: value for name, value in told.items() if value is not None}
        teller.tell("ai.assistant.tool_call", status=status, **known, **said)
        teller.wait(50, 500)
    return {
        "id": known["tool_call_id"],
        "name": known["name"],
        "arguments": known["arguments"],
        "status": status,
        "started_at": render_ms(started_at),
        **told,
    }


def _recording(teller: _Teller, begun: int) -> dict[str, Any] | None:
    rng = teller.rng
    if rng.random() < 0.3:
        return None
    teller.wait(500, 3_000)
    name, seconds = teller.mark.id(rng), rng.randrange(10, 90)
    urls = {kind: f"https://recordings.example.com/{name}.{kind}" for kind in ("mp3", "wav")}
    ended_at = begun + 1000 * seconds
    teller.tell(
        "call.recording.saved",
        recording_id=name,
        call_control_id=...,
        recording_started_at=render_ms(begun),
        recording_ended_at=render_ms(ended_at),
        public_recording_urls=urls if rng.random() < 0.5 else {},
        recording_urls=urls,
    )
    return {
        "id": name,
        "urls": list(urls.values()),
        "duration_seconds": seconds,
        "available": True,
        "started_at": render_ms(begun),
        "ended_at": render_ms(ended_at),
    }
