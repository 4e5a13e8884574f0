"""The state of one call: a join-semilattice.

``state ⊔ event`` is commutative, associative and idempotent, so late, repeated and shuffled events are no special
cases, and two partial states of a call merge by the same join. Nothing here depends on a clock.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple

from voice_common.store.lattice import Stamped, earliest, greater, greatest, join_maps, latest, least


class Source(StrEnum):
    """Where a message's text can come from, in the order in which ties between sources are broken."""

    TRANSCRIPT = "transcript"
    TRANSCRIPTION = "transcription"
    RESPONSE = "response"
    CONVERSATION = "conversation"
    GATHER = "gather"


class Line(NamedTuple):
    """One utterance; `score` is its sentiment in -10000…10000 where the caller said it, as if it were English."""

    role: str
    text: str
    created_at: int
    score: int | None


class Lines(NamedTuple):
    """The utterances that one event tells of, in their order there."""

    at: int
    lines: tuple[Line, ...]


class History(NamedTuple):
    """A whole history of a gather; the longest one counts, then the latest."""

    at: int
    event: str
    lines: tuple[Line, ...]


class Hangup(NamedTuple):
    """When a leg ended, and why."""

    ended_at: int
    cause: str | None


class Outcome(NamedTuple):
    """How a tool call ended."""

    succeeded: bool
    error: str | None
    duration_ms: int | None


@dataclass(frozen=True, slots=True)
class Leg:
    """What is known of one leg of the call.

    `first` is the earliest time that one of its events speaks of, `occurred` the earliest time that one occurred.
    """

    first: Stamped[None] | None = None
    direction: Stamped[str] | None = None
    caller: Stamped[str] | None = None
    callee: Stamped[str] | None = None
    opened: bool = False
    hung_up: bool = False
    answered: bool = False
    occurred: Stamped[None] | None = None

    def join(self, other: Leg) -> Leg:
        """Join what two sets of events say of this leg."""
        return Leg(
            earliest(self.first, other.first),
            earliest(self.direction, other.direction),
            earliest(self.caller, other.caller),
            earliest(self.callee, other.callee),
            self.opened or other.opened,
            self.hung_up or other.hung_up,
            self.answered or other.answered,
            earliest(self.occurred, other.occurred),
        )


@dataclass(frozen=True, slots=True)
class ToolCall:
    """What is known of one tool call: an outcome wins over a start, the later outcome over the earlier."""

    seen: Stamped[None]
    name: Stamped[str] | None = None
    arguments: Stamped[str] | None = None
    outcome: Stamped[Outcome] | None = None

    def join(self, other: ToolCall) -> ToolCall:
        """Join what two sets of events say of this tool call."""
        seen = earliest(self.seen, other.seen)
        return ToolCall(
            self.seen if seen is None else seen,
            earliest(self.name, other.name),
            earliest(self.arguments, other.arguments),
            latest(self.outcome, other.outcome),
        )


class RecordingFacts(NamedTuple):
    """What one event says of a recording; the times in milliseconds, `urls` with mp3 first."""

    started_at: int | None
    ended_at: int | None
    urls: tuple[str, ...]


def _join_legs(left: Leg, right: Leg) -> Leg:
    return left.join(right)


def _join_tools(left: ToolCall, right: ToolCall) -> ToolCall:
    return left.join(right)


def _join_recordings(left: Stamped[RecordingFacts], right: Stamped[RecordingFacts]) -> Stamped[RecordingFacts]:
    # One recording told of twice: an event with URLs says more than one without, then the later one counts.
    return max(left, right, key=lambda said: (bool(said.value.urls), said.at, said.event, repr(said.value)))


def _join_histories(left: History | None, right: History | None) -> History | None:
    if left is None or right is None:
        return right if left is None else left
    return max(left, right, key=lambda history: (len(history.lines), history.at, history.event, repr(history.lines)))


@dataclass(frozen=True, slots=True)
class CallState:
    """All that the events of one call say; times in milliseconds since the epoch.

    `keys` are the Telnyx keys that verified its events, `ids` the foreign ids that name it (``leg:…``,
    ``control:…``, ``conversation:…``), `links` the pairs of leg and control id that name one leg.
    """

    keys: frozenset[str] = frozenset()
    ids: frozenset[str] = frozenset()
    links: frozenset[tuple[str, str]] = frozenset()
    started_at: int | None = None
    newest_at: int | None = None
    answered_at: int | None = None
    evidence_at: int | None = None
    hangup: Stamped[Hangup] | None = None
    sentiment: Stamped[str] | None = None
    legs: Mapping[str, Leg] = field(default_factory=dict)
    recordings: Mapping[str, Stamped[RecordingFacts]] = field(default_factory=dict)
    tools: Mapping[str, ToolCall] = field(default_factory=dict)
    lines: Mapping[tuple[str, str], Lines] = field(default_factory=dict)
    gather: History | None = None
    session_ended_at: int | None = None

    @property
    def size(self) -> int:
        """How many tool calls and utterances it holds: what its work grows with."""
        gathered = 0 if self.gather is None else len(self.gather.lines)
        return len(self.tools) + gathered + sum([len(said.lines) for said in self.lines.values()])

    def join(self, other: CallState) -> CallState:
        """Give the least state that holds all that both hold."""
        return CallState(
            self.keys | other.keys,
            self.ids | other.ids,
            self.links | other.links,
            least(self.started_at, other.started_at),
            greatest(self.newest_at, other.newest_at),
            least(self.answered_at, other.answered_at),
            least(self.evidence_at, other.evidence_at),
            latest(self.hangup, other.hangup),
            latest(self.sentiment, other.sentiment),
            join_maps(self.legs, other.legs, _join_legs),
            join_maps(self.recordings, other.recordings, _join_recordings),
            join_maps(self.tools, other.tools, _join_tools),
            join_maps(self.lines, other.lines, greater),
            _join_histories(self.gather, other.gather),
            greatest(self.session_ended_at, other.session_ended_at),
        )

    def to_document(self) -> dict[str, Any]:
        """Give the state as BSON can hold it; equal states give equal documents."""
        return {
            "keys": sorted(self.keys),
            "ids": sorted(self.ids),
            "links": [list(pair) for pair in sorted(self.links)],
            "started_at": self.started_at,
            "newest_at": self.newest_at,
            "answered_at": self.answered_at,
            "evidence_at": self.evidence_at,
            "hangup": _pack(self.hangup),
            "sentiment": _pack(self.sentiment),
            "legs": [
                [
                    key,
                    _pack(leg.first),
                    _pack(leg.direction),
                    _pack(leg.caller),
                    _pack(leg.callee),
                    leg.opened,
                    leg.hung_up,
                    leg.answered,
                    _pack(leg.occurred),
                ]
                for key, leg in sorted(self.legs.items())
            ],
            "recordings": [[key, *_pack(said)] for key, said in sorted(self.recordings.items())],
            "tools": [
                [key, _pack(tool.seen), _pack(tool.name), _pack(tool.arguments), _pack(tool.outcome)]
                for key, tool in sorted(self.tools.items())
            ],
            "lines": [[*key, said.at, [list(line) for line in said.lines]] for key, said in sorted(self.lines.items())],
            "gather": None
            if self.gather is None
            else [self.gather.at, self.gather.event, [list(line) for line in self.gather.lines]],
            "session_ended_at": self.session_ended_at,
        }

    @staticmethod
    def size_in(document: Mapping[str, Any]) -> int:
        """Give the `size` of the state that `to_document` gave a document of."""
        gathered = 0 if document["gather"] is None else len(document["gather"][2])
        return len(document["tools"]) + gathered + sum([len(said[3]) for said in document["lines"]])

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> CallState:
        """Read what `to_document` gave."""
        gather = document["gather"]
        return cls(
            frozenset(document["keys"]),
            frozenset(document["ids"]),
            frozenset((leg, control) for leg, control in document["links"]),
            document["started_at"],
            document["newest_at"],
            document["answered_at"],
            document["evidence_at"],
            _unpack(document["hangup"], Hangup),
            _unpack(document["sentiment"]),
            {
                key: Leg(
                    _unpack(first),
                    _unpack(direction),
                    _unpack(caller),
                    _unpack(callee),
                    opened,
                    hung_up,
                    answered,
                    _unpack(occurred),
                )
                for key, first, direction, caller, callee, opened, hung_up, answered, occurred in document["legs"]
            },
            {
                key: Stamped(at, event, RecordingFacts(started, ended, tuple(urls)))
                for key, at, event, (started, ended, urls) in document["recordings"]
            },
            {
                key: ToolCall(Stamped(*seen), _unpack(name), _unpack(arguments), _unpack(outcome, Outcome))
                for key, seen, name, arguments, outcome in document["tools"]
            },
            {
                (source, event): Lines(at, tuple(Line(*line) for line in lines))
                for source, event, at, lines in document["lines"]
            },
            None if gather is None else History(gather[0], gather[1], tuple(Line(*line) for line in gather[2])),
            document["session_ended_at"],
        )


def _pack(said: Stamped[Any] | None) -> Any:  # noqa: ANN401 - what BSON holds
    if said is None:
        return None
    value = said.value
    if isinstance(value, RecordingFacts):
        value = [value.started_at, value.ended_at, list(value.urls)]
    elif isinstance(value, tuple):
        value = list(value)
    return [said.at, said.event, value]


def _unpack(packed: list[Any] | None, shape: type[Any] | None = None) -> Any:  # noqa: ANN401 - what BSON held
    if packed is None:
        return None
    at, event, value = packed
    return Stamped(at, event, value if shape is None else shape(*value))
