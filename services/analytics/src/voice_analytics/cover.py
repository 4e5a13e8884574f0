"""Which parts of a range come from where: whole clean days, clean hours, or live calls. Pure; all in milliseconds."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import NamedTuple

from voice_common.times import DAY_MS, HOUR_MS


class Span(NamedTuple):
    """The half-open range ``[start, end)``."""

    start: int
    end: int


def day_of(moment: int) -> int:
    """Give the start of a moment's UTC day."""
    return moment - moment % DAY_MS


def whole_hours(period: Span) -> Span:
    """Give the part of `period` that is made of whole hours; its end lies before its start where there is none."""
    return Span(-(-period.start // HOUR_MS) * HOUR_MS, period.end // HOUR_MS * HOUR_MS)


def days_by_hour(period: Span, dirty: Iterable[int]) -> set[int]:
    """Give the days whose totals can't be used as they are: those that `period` cuts, and those with a dirty hour."""
    days = {day_of(hour) for hour in dirty}
    days.update(day_of(edge) for edge in period if edge % DAY_MS)
    return days


def cuts_an_hour(period: Span, before: int) -> bool:
    """Tell whether `period` begins or ends in the middle of an hour that lies before a day's start."""
    return any(edge % HOUR_MS and edge < before for edge in period)


def cut_hours(period: Span) -> set[int]:
    """Give the hours, at most two, in which `period` begins or ends without being all of them."""
    return {edge - edge % HOUR_MS for edge in period if edge % HOUR_MS}


def rest_of_hour(period: Span, hour: int) -> list[Span]:
    """Give the parts of an hour that `period` leaves out."""
    before = Span(hour, min(max(hour, period.start), hour + HOUR_MS))
    after = Span(max(hour, min(period.end, hour + HOUR_MS)), hour + HOUR_MS)
    return [span for span in (before, after) if span.start < span.end]


def live_spans(
    period: Span, dirty: Collection[int], stale: Collection[int], *, known: Collection[int] = ()
) -> list[Span]:
    """Give the parts of `period` that no rollup tells of, ascending and apart: cut and dirty hours, stale days.

    Of the cut hours those that are `known` otherwise are left out.
    """
    if period.start >= period.end:
        return []
    cut = cut_hours(period).difference(known)
    spans = [Span(hour, hour + HOUR_MS) for hour in cut.union(dirty)]
    spans += [Span(day, day + DAY_MS) for day in stale]
    merged: list[Span] = []
    for span in sorted(Span(max(start, period.start), min(end, period.end)) for start, end in spans):
        if span.start >= span.end:
            continue
        if merged and span.start <= merged[-1].end:
            merged[-1] = Span(merged[-1].start, max(merged[-1].end, span.end))
        else:
            merged.append(span)
    return merged
