"""What was said in a call, from which source, and in what mood, by the contract's §7."""

from __future__ import annotations

import pytest
from state_factories import T0, facts, whole

from voice_common.store.facts import (
    Message,
    messages_of,
)
from voice_common.store.lattice import Stamped
from voice_common.store.state import CallState
from voice_common.store.transcript import History, Line, Lines, Source


def lines(source: Source, event: str, at: int, *told: tuple[str, str], scores: tuple[int, ...] = ()) -> CallState:
    made = tuple(
        Line(role, text, at + place, scores[place] if scores else None) for place, (role, text) in enumerate(told)
    )
    return CallState(lines={(source, event): Lines(at, made)})


def gather(event: str, at: int, *told: tuple[str, str]) -> CallState:
    return CallState(gather=History(at, event, tuple(Line(role, text, at, None) for role, text in told)))


def contents(*parts: CallState) -> list[str]:
    return [message.content for message in messages_of(whole(*parts))]


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ([], []),
        (
            [
                lines(Source.TRANSCRIPT, "e1", T0, ("user", "transcript")),
                lines(Source.TRANSCRIPTION, "e2", T0, ("user", "transcription")),
            ],
            ["transcript"],
        ),
        (
            [
                lines(Source.TRANSCRIPT, "e1", T0, ("user", "transcript")),
                lines(Source.TRANSCRIPTION, "e2", T0, ("user", "one")),
                lines(Source.TRANSCRIPTION, "e3", T0, ("user", "two")),
            ],
            ["one", "two"],
        ),
        (
            [
                lines(Source.RESPONSE, "e1", T0, ("assistant", "response")),
                lines(Source.TRANSCRIPTION, "e2", T0, ("assistant", "transcription")),
            ],
            ["transcription"],
        ),
        (
            [
                lines(Source.CONVERSATION, "e1", T0, ("assistant", "conversation")),
                lines(Source.RESPONSE, "e2", T0, ("assistant", "response")),
            ],
            ["response"],
        ),
        (
            [
                gather("e1", T0, ("assistant", "gather")),
                lines(Source.CONVERSATION, "e2", T0, ("assistant", "conversation")),
            ],
            ["conversation"],
        ),
        (
            [
                gather("e1", T0, ("assistant", "one"), ("assistant", "two")),
                lines(Source.TRANSCRIPT, "e2", T0, ("assistant", "transcript")),
            ],
            ["one", "two"],
        ),
        # the role decides by itself
        (
            [
                lines(Source.TRANSCRIPT, "e1", T0 + 1, ("user", "asked")),
                lines(Source.RESPONSE, "e2", T0 + 2, ("assistant", "answered")),
                lines(Source.RESPONSE, "e3", T0 + 3, ("assistant", "more")),
                lines(Source.CONVERSATION, "e4", T0 + 9, ("user", "asked"), ("assistant", "answered")),
            ],
            ["asked", "answered", "more"],
        ),
    ],
)
def test_each_roles_messages_are_of_the_source_with_most_lines(parts: list[CallState], expected: list[str]) -> None:
    assert contents(*parts) == expected
    assert facts(*parts).message_count == len(expected)


@pytest.mark.parametrize("role", ["user", "assistant"])
def test_ties_between_sources_go_in_the_order_of_the_contract(role: str) -> None:
    order = [Source.TRANSCRIPT, Source.TRANSCRIPTION, Source.RESPONSE, Source.CONVERSATION]
    said = [lines(source, "e", T0, (role, source)) for source in order] + [gather("e", T0, (role, Source.GATHER))]
    for first in range(len(said)):
        assert contents(*reversed(said[first:])) == [[*order, Source.GATHER][first]]


def test_of_gather_histories_the_longest_counts_and_then_the_latest() -> None:
    short, long = [("user", "a")], [("user", "a"), ("assistant", "b"), ("user", "c")]
    assert contents(gather("e1", T0, *long), gather("e2", T0 + 9, *short)) == ["a", "b", "c"]
    retold = [("user", "A"), ("assistant", "B"), ("user", "C")]
    assert contents(gather("e1", T0 + 1, *retold), gather("e2", T0, *long)) == ["A", "B", "C"]
    assert contents(gather("e1", T0, *long), gather("e2", T0, *retold)) == ["A", "B", "C"]


def test_messages_go_by_time_then_event_id_then_place() -> None:
    state = whole(
        lines(Source.TRANSCRIPT, "e3", T0 + 5, ("user", "third")),
        lines(Source.TRANSCRIPT, "e1", T0 + 6, ("user", "fourth")),
        lines(Source.TRANSCRIPT, "e2", T0 + 5, ("assistant", "second")),
        lines(Source.TRANSCRIPT, "e9", T0 + 4, ("assistant", "first")),
    )
    assert [message.content for message in messages_of(state)] == ["first", "second", "third", "fourth"]
    history = lines(Source.CONVERSATION, "e", T0, *[("user" if n % 2 else "assistant", str(n)) for n in range(12)])
    assert contents(history) == [str(number) for number in range(12)]


def test_a_message_is_named_by_its_event_and_its_place_in_a_history() -> None:
    assert messages_of(whole(lines(Source.TRANSCRIPT, "e1", T0, ("user", "hi")))) == [Message("e1", "user", "hi", T0)]
    several = whole(lines(Source.CONVERSATION, "e1", T0, ("user", "hi"), ("assistant", "ho")))
    assert messages_of(several) == [
        Message("e1:0", "user", "hi", T0),
        Message("e1:1", "assistant", "ho", T0 + 1),
    ]


# sentiment


@pytest.mark.parametrize(
    ("scores", "label"),
    [
        ((), None),
        ((500,), "positive"),
        ((499,), "neutral"),
        ((0,), "neutral"),
        ((-499,), "neutral"),
        ((-500,), "negative"),
        ((10_000, -9_000), "positive"),
        ((10_000, -9_001), "neutral"),
        ((-10_000, 0, 0), "negative"),
    ],
)
def test_sentiment_is_the_mean_of_the_callers_lines(scores: tuple[int, ...], label: str | None) -> None:
    said = [lines(Source.TRANSCRIPT, f"e{n}", T0 + n, ("user", "x"), scores=(score,)) for n, score in enumerate(scores)]
    assert facts(*said).sentiment == label


def test_a_providers_label_wins_and_the_latest_of_two() -> None:
    said = lines(Source.TRANSCRIPT, "e", T0, ("user", "x"), scores=(-9_000,))
    early = CallState(sentiment=Stamped(T0, "e1", "positive"))
    late = CallState(sentiment=Stamped(T0 + 1, "e0", "neutral"))
    assert facts(said, early).sentiment == "positive"
    assert facts(said, late, early).sentiment == "neutral"
    tied = CallState(sentiment=Stamped(T0 + 1, "e9", "negative"))
    assert facts(late, tied).sentiment == "negative"


def test_lines_that_are_not_in_the_transcript_do_not_count_for_sentiment() -> None:
    found = facts(
        lines(Source.TRANSCRIPT, "e1", T0, ("user", "x"), scores=(9_000,)),
        lines(Source.TRANSCRIPTION, "e2", T0, ("user", "x"), scores=(-9_000,)),
    )
    assert found.sentiment == "positive"
