"""A call's state is a join-semilattice, and its document is the state itself."""

from __future__ import annotations

import random

import bson
from common_factories import states
from hypothesis import given, settings
from hypothesis import strategies as st

from voice_common.store.facts import Facts, facts_of, messages_of, recording_of, tool_calls_of
from voice_common.store.state import CallState

EXAMPLES = 60


@settings(max_examples=EXAMPLES, deadline=None)
@given(states, states)
def test_joining_is_commutative(left: CallState, right: CallState) -> None:
    assert left.join(right) == right.join(left)


@settings(max_examples=EXAMPLES, deadline=None)
@given(states, states, states)
def test_joining_is_associative(first: CallState, second: CallState, third: CallState) -> None:
    assert first.join(second).join(third) == first.join(second.join(third))


@settings(max_examples=EXAMPLES, deadline=None)
@given(states, states)
def test_joining_is_idempotent(left: CallState, right: CallState) -> None:
    assert left.join(left) == left
    both = left.join(right)
    assert both.join(right) == both
    assert left.join(both) == both


@settings(max_examples=EXAMPLES, deadline=None)
@given(states)
def test_the_empty_state_adds_nothing(state: CallState) -> None:
    assert CallState().join(state) == state == state.join(CallState())


@settings(max_examples=EXAMPLES, deadline=None)
@given(states)
def test_a_state_survives_the_store(state: CallState) -> None:
    stored = bson.decode(bson.encode(state.to_document()))
    assert CallState.from_document(stored) == state
    assert CallState.from_document(stored).to_document() == stored


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.lists(states, min_size=1, max_size=5), st.randoms(use_true_random=False))
def test_any_order_and_repetition_give_one_document_and_one_set_of_facts(
    parts: list[CallState], rng: random.Random
) -> None:
    shuffled = [*parts, *rng.sample(parts, rng.randint(0, len(parts)))]
    rng.shuffle(shuffled)
    one, other = CallState(started_at=0, newest_at=0), CallState(started_at=0, newest_at=0)
    for part in parts:
        one = one.join(part)
    for part in shuffled:
        other = part.join(other)
    assert bson.encode(one.to_document()) == bson.encode(other.to_document())
    stored = CallState.from_document(one.to_document())
    for derive in (_facts_of, messages_of, recording_of, tool_calls_of):
        assert derive(one) == derive(other) == derive(stored), derive.__name__


def _facts_of(state: CallState) -> Facts:
    """Derive the facts as if the language were told by nothing but the order in which things were said."""
    return facts_of(state, lambda said: "xy" in "".join(said))
