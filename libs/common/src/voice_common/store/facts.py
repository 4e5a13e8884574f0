"""What a call's state comes to: the facts of CONTRACT §7 that are listed and counted. Pure, no clock."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum

from voice_common.store.lattice import Stamped
from voice_common.store.legs import Legs
from voice_common.store.state import CallState, RecordingFacts, ToolCall
from voice_common.store.transcript import Entry, chosen_lines

_THRESHOLD = 500

Knows = Callable[[Iterable[str]], bool]
"""Tells whether what a caller said, line by line, is in a language that the scores of sentiment are for."""


class Phase(StrEnum):
    """How far a call is, as far as no clock has a say; an open call that was silent for long has failed."""

    OPEN = "open"
    COMPLETED = "completed"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Message:
    """One utterance of the transcript."""

    id: str
    role: str
    content: str
    created_at: int


@dataclass(frozen=True, slots=True)
class Recording:
    """One recording that can be listened to; times in milliseconds."""

    id: str
    urls: tuple[str, ...]
    started_at: int | None
    ended_at: int | None


@dataclass(frozen=True, slots=True)
class Facts:
    """What is listed and counted of one call; times and durations in milliseconds."""

    started_at: int
    newest_at: int
    answered_at: int | None
    ended_at: int | None
    phase: Phase
    duration_ms: int | None
    direction: str | None
    caller: str | None
    callee: str | None
    hangup_cause: str | None
    sentiment: str | None
    recording_available: bool
    tools_succeeded: int
    tools_known: int
    message_count: int


def facts_of(state: CallState, knows: Knows) -> Facts:
    """Derive a call's facts; the state must hold at least one event. `knows` decides whether scores count."""
    if state.started_at is None or state.newest_at is None:
        message = "a state without an event has no facts"
        raise ValueError(message)
    legs = legs_of(state)
    first = legs.first
    answered_at = state.answered_at if state.answered_at is not None else state.evidence_at
    ended_at = _end_of_call(state, legs)
    if ended_at is not None and answered_at is not None:
        # Two hosts, two clocks: an answer can be stamped after the hangup.
        ended_at = max(ended_at, answered_at)
    closed = Phase.FAILED if answered_at is None else Phase.COMPLETED
    outcomes = [ended.succeeded for tool in state.tools.values() if (ended := tool.ended)]
    heard, answers = chosen_lines(state.lines, state.gather, legs)
    return Facts(
        started_at=state.started_at,
        newest_at=state.newest_at,
        answered_at=answered_at,
        ended_at=ended_at,
        phase=Phase.OPEN if ended_at is None else closed,
        duration_ms=ended_at - answered_at if ended_at is not None and answered_at is not None else None,
        direction=_value(first.direction),
        caller=_value(first.caller),
        callee=_value(first.callee),
        hangup_cause=state.hangup.value.cause if state.hangup else None,
        sentiment=_sentiment_of(state, heard, knows),
        recording_available=any(said.value.urls for said in state.recordings.values()),
        tools_succeeded=sum(outcomes),
        tools_known=len(outcomes),
        message_count=len(heard) + len(answers),
    )


def messages_of(state: CallState) -> list[Message]:
    """Give the transcript, oldest first; each role's from the one source that has most lines of it."""
    heard, answers = chosen_lines(state.lines, state.gather, legs_of(state))
    return [
        Message(event if place < 0 else f"{event}:{place}", line.role, line.text, at)
        for at, event, place, line in sorted(heard + answers, key=_place)
    ]


def recording_of(state: CallState) -> Recording | None:
    """Give the latest recording that can be listened to (by its end, then its id), or ``None``."""
    available = [(_end_of(said), key, said.value) for key, said in state.recordings.items() if said.value.urls]
    if not available:
        return None
    _, key, facts = max(available, key=lambda entry: entry[:2])
    return Recording(key, facts.urls, facts.started_at, facts.ended_at)


def tool_calls_of(state: CallState) -> list[tuple[str, ToolCall]]:
    """Give the tool calls with their ids, in the order in which they began."""
    return sorted(state.tools.items(), key=_beginning)


def _beginning(entry: tuple[str, ToolCall]) -> tuple[int, str, int, str]:
    at, event, place = entry[1].seen
    return at, event, place or 0, entry[0]


def legs_of(state: CallState) -> Legs:
    """Give the call's legs."""
    return Legs(state.legs, state.links)


def _sentiment_of(state: CallState, heard: list[Entry], knows: Knows) -> str | None:
    if state.sentiment is not None:
        return state.sentiment.value
    scores = [entry.line.score for entry in heard if entry.line.score is not None]
    # In the order of the transcript: the language must not depend on the order of arrival.
    if not scores or not knows(entry.line.text for entry in sorted(heard, key=_place)):
        return None
    total, bound = sum(scores), _THRESHOLD * len(scores)
    if total >= bound:
        return "positive"
    return "negative" if total <= -bound else "neutral"


def _end_of_call(state: CallState, legs: Legs) -> int | None:
    """Give when the call ended: its legs' end; the AI session's where no leg was opened or hung up."""
    if not any(leg.opened or leg.hung_up for leg in legs.all):
        return state.session_ended_at
    # A leg that only rang holds nothing open once another was answered: its hangup can be lost.
    deciding = [leg for leg in legs.all if leg.answered] or [leg for leg in legs.all if leg.opened]
    return state.hangup.value.ended_at if state.hangup and all(leg.hung_up for leg in deciding) else None


def _end_of(said: Stamped[RecordingFacts]) -> int:
    return said.at if said.value.ended_at is None else said.value.ended_at


def _place(entry: Entry) -> tuple[int, str, int]:
    return entry[:3]


def _value(said: Stamped[str] | None) -> str | None:
    return None if said is None else said.value
