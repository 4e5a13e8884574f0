"""What a call's state comes to, sentence by sentence of the contract's §7."""

from __future__ import annotations

import pytest
from state_factories import T0, facts, in_english, whole

from voice_common.store.facts import (
    Phase,
    Recording,
    facts_of,
    legs_of,
    recording_of,
    tool_calls_of,
)
from voice_common.store.lattice import Stamped
from voice_common.store.legs import Hangup, Leg
from voice_common.store.state import CallState, Outcome, RecordingFacts, ToolCall


def leg(key: str, at: int = T0, *, opened: bool = False, hung_up: bool = False, answered: bool = False,
        link: str | None = None, who: tuple[str, str, str] | None = None, event: str = "e") -> CallState:  # fmt: skip
    """One event of a leg; `who` is its direction, caller and callee."""
    direction, caller, callee = [Stamped(at, event, value) for value in who] if who else (None, None, None)
    return CallState(
        started_at=at,
        newest_at=at,
        links=frozenset() if link is None else frozenset({(key, link)}),
        legs={
            key: Leg(
                Stamped(at, event, None), direction, caller, callee, opened, hung_up, answered, Stamped(at, event, None)
            )
        },
    )


def hangup(key: str, at: int, *, ended_at: int | None = None, cause: str | None = "normal_clearing",
           event: str = "h") -> CallState:  # fmt: skip
    said = Stamped(at, event, Hangup(at if ended_at is None else ended_at, cause))
    return leg(key, at, hung_up=True, event=event).join(CallState(hangup=said))


ANSWERED = CallState(answered_at=T0 + 2)


def test_a_state_without_an_event_has_no_facts() -> None:
    with pytest.raises(ValueError, match="no facts"):
        facts_of(CallState(), in_english)


def test_a_call_starts_at_the_earliest_time_and_is_as_new_as_its_newest_event() -> None:
    found = facts(CallState(started_at=T0 - 5, newest_at=T0 + 7))
    assert (found.started_at, found.newest_at) == (T0 - 5, T0 + 7)


# ended_at


@pytest.mark.parametrize(
    ("parts", "ended_at"),
    [
        ([], None),
        ([leg("leg:a", opened=True)], None),
        ([leg("leg:a", opened=True), hangup("leg:a", T0 + 9)], T0 + 9),
        ([hangup("leg:a", T0 + 9)], T0 + 9),
        ([leg("leg:a", opened=True), hangup("leg:a", T0 + 9, ended_at=T0 + 8)], T0 + 8),
        # a transfer: the second leg goes on
        ([leg("leg:a", opened=True), leg("leg:b", opened=True), hangup("leg:a", T0 + 9)], None),
        (
            [
                leg("leg:a", opened=True),
                leg("leg:b", opened=True),
                hangup("leg:a", T0 + 9),
                hangup("leg:b", T0 + 7, ended_at=T0 + 20),
            ],
            T0 + 9,
        ),
        # a leg that was only heard of holds nothing open
        ([leg("leg:a", opened=True), leg("leg:b"), hangup("leg:a", T0 + 9)], T0 + 9),
        # of two hangups at one time the greater event id is the later
        ([hangup("leg:a", T0 + 9, ended_at=T0 + 1, event="h1"), hangup("leg:a", T0 + 9, ended_at=T0, event="h2")], T0),
        # one leg under its control id and under its leg id
        ([leg("leg:a", opened=True, link="control:a"), hangup("control:a", T0 + 9)], T0 + 9),
        ([leg("leg:a", opened=True), hangup("control:a", T0 + 9)], None),
        # an event that names no leg speaks of the only one, else of one of its own
        ([leg("leg:a", opened=True), hangup("", T0 + 9)], T0 + 9),
        ([leg("", opened=True), hangup("leg:a", T0 + 9)], T0 + 9),
        ([leg("leg:a", opened=True), leg("leg:b", opened=True), hangup("", T0 + 9)], None),
        # an AI session's end is not the call's end
        ([leg("leg:a", opened=True), CallState(evidence_at=T0 + 5)], None),
    ],
)
def test_a_call_ends_when_every_opened_leg_has_its_hangup(parts: list[CallState], ended_at: int | None) -> None:
    assert facts(*parts).ended_at == ended_at


def test_legs_linked_through_one_another_are_one() -> None:
    state = whole(
        leg("leg:a", opened=True, link="control:x"), leg("control:x", T0 + 1), leg("leg:b", T0 + 2, link="control:x")
    )
    assert len(legs_of(state).all) == 1


# answered_at, status, duration


@pytest.mark.parametrize(
    ("parts", "phase", "answered_at", "duration"),
    [
        ([leg("leg:a", opened=True)], Phase.OPEN, None, None),
        ([leg("leg:a", opened=True), ANSWERED], Phase.OPEN, T0 + 2, None),
        ([hangup("leg:a", T0 + 9)], Phase.FAILED, None, None),
        ([hangup("leg:a", T0 + 9), ANSWERED], Phase.COMPLETED, T0 + 2, 7),
        ([hangup("leg:a", T0 + 9), CallState(evidence_at=T0 + 4)], Phase.COMPLETED, T0 + 4, 5),
        ([hangup("leg:a", T0 + 9), ANSWERED, CallState(evidence_at=T0 + 1)], Phase.COMPLETED, T0 + 2, 7),
        ([hangup("leg:a", T0 + 9), ANSWERED, CallState(answered_at=T0 + 1)], Phase.COMPLETED, T0 + 1, 8),
    ],
)
def test_a_call_is_completed_when_it_was_answered_and_has_ended(
    parts: list[CallState], phase: Phase, answered_at: int | None, duration: int | None
) -> None:
    found = facts(*parts)
    assert (found.phase, found.answered_at, found.duration_ms) == (phase, answered_at, duration)


# direction, from, to, hangup_cause


def test_direction_and_numbers_are_of_the_earliest_leg() -> None:
    first = leg("leg:b", T0 + 1, who=("inbound", "+1", "+2"))
    second = leg("leg:a", T0 + 2, who=("outbound", "+2", "+3"))
    found = facts(second, first)
    assert (found.direction, found.caller, found.callee) == ("inbound", "+1", "+2")


def test_legs_that_begin_at_once_go_by_event_id() -> None:
    found = facts(
        leg("leg:a", who=("outbound", "+2", "+3"), event="e2"), leg("leg:b", who=("inbound", "+1", "+2"), event="e1")
    )
    assert found.direction == "inbound"


def test_legs_that_one_event_id_began_go_by_their_own_ids_in_whatever_order_they_came() -> None:
    one, other = leg("leg:a", who=("inbound", "+1", "+2")), leg("leg:b", who=("outbound", "+2", "+3"))
    assert facts(one, other).direction == facts(other, one).direction == "inbound"


def test_what_an_event_without_a_leg_says_is_of_the_only_leg() -> None:
    found = facts(leg("leg:a"), leg("", T0 + 1, who=("inbound", "+1", "+2")))
    assert (found.direction, found.caller, found.callee) == ("inbound", "+1", "+2")


def test_a_call_without_legs_has_no_direction() -> None:
    found = facts()
    assert (found.direction, found.caller, found.callee) == (None, None, None)


def test_the_hangup_cause_is_the_latest_hangups_also_while_a_leg_goes_on() -> None:
    found = facts(
        leg("leg:c", opened=True),
        hangup("leg:a", T0 + 9, cause="user_busy"),
        hangup("leg:b", T0 + 8, ended_at=T0 + 30, cause="timeout"),
    )
    assert (found.phase, found.hangup_cause) == (Phase.OPEN, "user_busy")


# recordings


def recorded(key: str, *urls: str, ended_at: int | None = T0 + 5, at: int = T0 + 9, event: str = "r") -> CallState:
    return CallState(recordings={key: Stamped(at, event, RecordingFacts(T0 + 1, ended_at, urls))})


def test_a_recording_is_available_with_a_url() -> None:
    assert recording_of(whole()) is None
    assert recording_of(whole(recorded("r"))) is None
    assert not facts(recorded("r")).recording_available
    assert recording_of(whole(recorded("r", "u", "v"))) == Recording("r", ("u", "v"), T0 + 1, T0 + 5)
    assert facts(recorded("r"), recorded("s", "u")).recording_available


@pytest.mark.parametrize(
    ("parts", "key"),
    [
        ([recorded("b", "u", ended_at=T0 + 5), recorded("a", "u", ended_at=T0 + 6)], "a"),
        ([recorded("a", "u"), recorded("b", "u")], "b"),
        ([recorded("a", "u"), recorded("b", ended_at=T0 + 99)], "a"),
        ([recorded("a", "u", ended_at=None, at=T0 + 50), recorded("b", "u", ended_at=T0 + 40, at=T0 + 90)], "a"),
    ],
)
def test_of_several_recordings_the_latest_available_one_counts(parts: list[CallState], key: str) -> None:
    found = recording_of(whole(*parts))
    assert found is not None
    assert found.id == key


def test_a_recording_told_of_twice_is_what_the_later_event_with_urls_says() -> None:
    twice = whole(recorded("r", "old", at=T0 + 1), recorded("r", "new", at=T0 + 2), recorded("r", at=T0 + 3))
    found = recording_of(twice)
    assert found is not None
    assert found.urls == ("new",)


# tool calls


def tool(key: str, at: int, *, ok: bool | None = None, event: str = "e", name: str | None = None) -> CallState:
    return CallState(
        tools={
            key: ToolCall(
                Stamped(at, event, None),
                None if name is None else Stamped(at, event, name),
                None,
                None if ok is None else Stamped(at, event, Outcome(ok, None if ok else "broke", at)),
            )
        }
    )


@pytest.mark.parametrize(
    ("parts", "succeeded", "known"),
    [
        ([], 0, 0),
        ([tool("t", T0)], 0, 0),
        ([tool("t", T0, ok=True)], 1, 1),
        ([tool("t", T0, ok=False)], 0, 1),
        ([tool("t", T0, ok=True), tool("t", T0 + 1)], 1, 1),
        ([tool("t", T0, ok=True), tool("t", T0 + 1, ok=False)], 0, 1),
        ([tool("t", T0, ok=True, event="e2"), tool("t", T0, ok=False, event="e1")], 1, 1),
        ([tool("t", T0, ok=True), tool("s", T0, ok=False), tool("u", T0)], 1, 2),
    ],
)  # fmt: skip
def test_a_tool_calls_outcome_wins_over_its_start_and_the_later_over_the_earlier(
    parts: list[CallState], succeeded: int, known: int
) -> None:
    found = facts(*parts)
    assert (found.tools_succeeded, found.tools_known) == (succeeded, known)


def test_tool_calls_go_by_their_beginning() -> None:
    state = whole(
        tool("a", T0 + 2, name="late"), tool("c", T0 + 1, event="e2"), tool("b", T0 + 1, event="e1"), tool("a", T0 + 3)
    )
    found = tool_calls_of(state)
    assert [key for key, _ in found] == ["b", "c", "a"]
    assert found[-1][1].seen.at == T0 + 2
