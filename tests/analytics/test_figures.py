"""The arithmetic: exact, rounded half to even."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from voice_analytics.figures import detailed, overview
from voice_analytics.sums import Sums, add_up

COUNTS = st.integers(0, 10**12)


@given(st.integers(-(10**15), 10**15), st.integers(1, 10**9))
def test_a_mean_is_the_exact_one_to_one_decimal(duration_ms: int, completed: int) -> None:
    figure = overview(Sums(calls=completed, completed=completed, duration_ms=duration_ms))["avg_duration_seconds"]
    assert figure == float(round(Fraction(duration_ms, completed * 1000), 1))


@given(COUNTS, COUNTS.map(lambda more: more + 1))
def test_a_rate_is_the_exact_one_to_four_decimals(part: int, whole: int) -> None:
    exact = float(round(Fraction(part, whole), 4))
    assert overview(Sums(completed=whole, recorded=part))["recording_availability_rate"] == exact
    assert detailed(Sums(tools_known=whole, tools_succeeded=part))["tool_call_success_rate"] == exact


def test_halves_go_to_the_even_neighbour() -> None:
    means = [overview(Sums(completed=1, duration_ms=ms))["avg_duration_seconds"] for ms in (50, 150, 250, 350, 251)]
    assert means == [0.0, 0.2, 0.2, 0.4, 0.3]
    rates = [overview(Sums(completed=20_000, recorded=part))["recording_availability_rate"] for part in (1, 3, 5)]
    assert rates == [0.0, 0.0002, 0.0002]


def test_without_a_denominator_there_is_no_figure() -> None:
    assert overview(Sums(calls=3))["avg_duration_seconds"] is None
    assert overview(Sums(calls=3))["recording_availability_rate"] is None
    assert detailed(Sums(calls=3))["tool_call_success_rate"] is None


def test_sums_add_up_by_field() -> None:
    assert add_up([Sums(*range(9)), Sums(*[1] * 9)]) == Sums(*range(1, 10))
    assert add_up([]) == Sums()
