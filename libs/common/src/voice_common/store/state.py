"""The state of one call: a join-semilattice.

``state ⊔ event`` is commutative, associative and idempotent, so late, repeated and shuffled events are no special
cases, and two partial states of a call merge by the same join. Nothing here depends on a clock.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar

from voice_common.store.lattice import Stamped, earliest, greater, greatest, join_maps, latest, least
from voice_common.store.legs import Hangup, Leg
from voice_common.store.transcript import History, Line, Lines, join_histories

T = TypeVar("T")


class Outcome(NamedTuple):
    """How a tool call ended."""

    succeeded: bool
    error: str | None
    duration_ms: int | None


@dataclass(frozen=True, slots=True)
class ToolCall:
    """What is known of one tool call.

    `seen` has its place among its event's calls; `outcome` is what events of its own say of how it ended, `answer`
    what the tool's message in a history says.
    """

    seen: Stamped[int | None]
    name: Stamped[str] | None = None
    arguments: Stamped[str] | None = None
    outcome: Stamped[Outcome] | None = None
    answer: Stamped[Outcome] | None = None

    @property
    def ended(self) -> Outcome | None:
        """How it ended, as the later of the two says; a history doesn't tell how long it took, and seldom why."""
        own, answer = self.outcome, self.answer
        if own is None or answer is None:
            said = own or answer
            return said.value if said else None
        if latest(own, answer) is own:
            return own.value
        succeeded, error, _ = answer.value
        return Outcome(succeeded, error if succeeded else error or own.value.error, own.value.duration_ms)

    def join(self, other: ToolCall) -> ToolCall:
        """Join what two sets of events say of this tool call."""
        seen = earliest(self.seen, other.seen)
        return ToolCall(
            self.seen if seen is None else seen,
            earliest(self.name, other.name),
            earliest(self.arguments, other.arguments),
            latest(self.outcome, other.outcome),
            latest(self.answer, other.answer),
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


@dataclass(frozen=True, slots=True)
class CallState:
    """All that the events of one call say; times in milliseconds since the epoch.

    `keys` are the Telnyx keys that verified its events, `ids` the foreign ids that name it (``leg:…``,
    ``control:…``, ``conversation:…``), `links` the pairs of leg and control id that name one leg, `recording_texts`
    what was said in a recording as the provider has it, by the recording's id: nobody knows who said it.
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
    recording_texts: Mapping[str, Stamped[str]] = field(default_factory=dict)

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
            join_histories(self.gather, other.gather),
            greatest(self.session_ended_at, other.session_ended_at),
            join_maps(self.recording_texts, other.recording_texts, _later),
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
            "tools": [_pack_tool(key, tool) for key, tool in sorted(self.tools.items())],
            "lines": [_pack_lines(key, said) for key, said in sorted(self.lines.items())],
            "gather": None
            if self.gather is None
            else [self.gather.at, self.gather.event, [list(line) for line in self.gather.lines]],
            "session_ended_at": self.session_ended_at,
            "recording_texts": [[key, *_pack(said)] for key, said in sorted(self.recording_texts.items())],
        }

    @staticmethod
    def size_in(document: Mapping[str, Any]) -> int:
        """Give the `size` of the state that `to_document` gave a document of."""
        gathered = 0 if document["gather"] is None else len(document["gather"][2])
        return len(document["tools"]) + gathered + sum([len(said[3]) for said in document["lines"]])

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> CallState:
        """Read what `to_document` gave, of this code or of older code: what that did not know is what nobody said."""
        gather = document["gather"]
        return cls(
            frozenset(document["keys"]),
            frozenset(document["ids"]),
            frozenset((leg, control) for leg, control in document["links"]),
            document["started_at"],
            document["newest_at"],
            document["answered_at"],
            document["evidence_at"],
            _unpack_as(Hangup, document["hangup"]),
            _unpack(document["sentiment"]),
            {packed[0]: _unpack_leg(packed) for packed in document["legs"]},
            {
                key: Stamped(at, event, RecordingFacts(started, ended, tuple(urls)))
                for key, at, event, (started, ended, urls) in document["recordings"]
            },
            {packed[0]: _unpack_tool(packed) for packed in document["tools"]},
            {
                (source, event): Lines(at, tuple([Line._make(line) for line in lines]), *of_leg)
                for source, event, at, lines, *of_leg in document["lines"]
            },
            None if gather is None else History(gather[0], gather[1], tuple([Line._make(line) for line in gather[2]])),
            document.get("session_ended_at"),
            {key: Stamped(at, event, text) for key, at, event, text in document.get("recording_texts", ())},
        )


def _later(left: Stamped[str], right: Stamped[str]) -> Stamped[str]:
    return latest(left, right) or left


def _pack_lines(key: tuple[str, str], said: Lines) -> list[Any]:
    packed: list[Any] = [*key, said.at, [list(line) for line in said.lines]]
    return [*packed, said.leg, said.track] if said.leg or said.track else packed


def _pack_tool(key: str, tool: ToolCall) -> list[Any]:
    packed = [key, _pack(tool.seen), _pack(tool.name), _pack(tool.arguments), _pack(tool.outcome)]
    return [*packed, _pack(tool.answer)] if tool.answer else packed


def _unpack_tool(packed: list[Any]) -> ToolCall:
    _, seen, name, arguments, outcome, *answer = packed
    return ToolCall(
        Stamped._make(seen),
        _unpack(name),
        _unpack(arguments),
        _unpack_as(Outcome, outcome),
        _unpack_as(Outcome, answer[0]) if answer else None,
    )


def _unpack_leg(packed: list[Any]) -> Leg:
    _, first, direction, caller, callee, opened, hung_up, *newer = packed
    answered, occurred = newer or (False, None)  # older code did not tell an answer from a beginning
    return Leg(
        _unpack(first),
        _unpack(direction),
        _unpack(caller),
        _unpack(callee),
        opened,
        hung_up,
        answered,
        _unpack(occurred),
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


def _unpack(packed: list[Any] | None) -> Stamped[Any] | None:
    return None if packed is None else Stamped._make(packed)


def _unpack_as(shape: Callable[..., T], packed: list[Any] | None) -> Stamped[T] | None:
    if packed is None:
        return None
    at, event, value = packed
    return Stamped(at, event, shape(*value))
