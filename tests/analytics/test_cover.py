"""How a range is split between rollups and calls: each moment is counted once."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from voice_analytics.cover import Span, cut_hours, day_of, days_by_hour, live_spans, rest_of_hour, whole_hours
from voice_common.times import DAY_MS, HOUR_MS

QUARTER = HOUR_MS // 4
MOMENTS = st.integers(0, 4 * 24 * 4).map(lambda quarters: quarters * QUARTER)
HOURS = st.sets(st.integers(0, 4 * 24 - 1).map(lambda hour: hour * HOUR_MS))
DAYS = st.sets(st.integers(0, 3).map(lambda day: day * DAY_MS))


@given(MOMENTS, MOMENTS, HOURS, DAYS)
def test_each_moment_of_a_range_is_counted_once_and_no_other(
    one: int, other: int, marked: set[int], stale: set[int]
) -> None:
    period = Span(min(one, other), max(one, other))
    dirty = {hour for hour in marked if period.start - period.start % HOUR_MS <= hour < period.end}
    by_hour, whole = days_by_hour(period, dirty), whole_hours(period)
    spans = live_spans(period, dirty, stale)
    for moment in range(0, 4 * DAY_MS, QUARTER):
        day, hour = day_of(moment), moment - moment % HOUR_MS
        live = sum(span.start <= moment < span.end for span in spans)
        from_hours = day not in stale and day in by_hour and whole.start <= hour < whole.end and hour not in dirty
        from_day = day not in stale and day not in by_hour and day_of(period.start) <= day < period.end
        assert live + from_hours + from_day == (period.start <= moment < period.end)


@given(MOMENTS, MOMENTS)
def test_a_known_hour_without_its_rest_is_what_the_range_has_of_it(one: int, other: int) -> None:
    period = Span(min(one, other), max(one, other))
    known = cut_hours(period)
    assert all(
        not (span.start <= hour < span.end) for hour in known for span in live_spans(period, (), (), known=known)
    )
    for hour in known:
        rest = rest_of_hour(period, hour)
        for moment in range(hour, hour + HOUR_MS, QUARTER // 3):
            left_out = sum(span.start <= moment < span.end for span in rest)
            assert 1 - left_out == (period.start <= moment < period.end)


def test_spans_that_touch_are_one() -> None:
    period = Span(QUARTER, 3 * HOUR_MS + QUARTER)
    assert live_spans(period, {HOUR_MS, 2 * HOUR_MS}, ()) == [period]
    assert live_spans(period, (), ()) == [Span(QUARTER, HOUR_MS), Span(3 * HOUR_MS, 3 * HOUR_MS + QUARTER)]


def test_a_range_inside_one_hour_is_one_span() -> None:
    assert live_spans(Span(1, 2), {0}, {0}) == [Span(1, 2)]
    assert live_spans(Span(2, 2), {0}, {0}) == []
