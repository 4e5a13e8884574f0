"""The figures that callers see, from sums of integers. Pure: exact quotients, rounded half to even."""

from __future__ import annotations

from collections.abc import Mapping

from voice_analytics.shapes import Bucket, DetailedMetrics, OverviewMetrics
from voice_analytics.sums import Sums
from voice_common.times import render_ms

_TENTHS = 10
_TEN_THOUSANDTHS = 10_000
_MS_PER_SECOND = 1000


def overview(sums: Sums) -> OverviewMetrics:
    """Give the ``metrics`` of the overview."""
    return {
        "total_calls": sums.calls,
        "completed_calls": sums.completed,
        "incomplete_calls": sums.calls - sums.completed,
        "avg_duration_seconds": _mean_seconds(sums),
        "recording_availability_rate": _rate(sums.recorded, sums.completed),
    }


def detailed(sums: Sums) -> DetailedMetrics:
    """Give the ``metrics`` of the detailed view: the overview, tool calls and sentiment."""
    return {
        **overview(sums),
        "tool_call_success_rate": _rate(sums.tools_succeeded, sums.tools_known),
        "sentiment_distribution": {
            "positive": sums.positive,
            "neutral": sums.neutral,
            "negative": sums.negative,
        },
    }


def timeline(buckets: Mapping[int, Sums]) -> list[Bucket]:
    """Give the entries of a timeline, ascending, from sums by the bucket's start in milliseconds."""
    return [
        {
            "bucket": render_ms(start),
            "call_count": buckets[start].calls,
            "avg_duration_seconds": _mean_seconds(buckets[start]),
        }
        for start in sorted(buckets)
    ]


def _mean_seconds(sums: Sums) -> float | None:
    return _quotient(sums.duration_ms, sums.completed * _MS_PER_SECOND, _TENTHS)


def _rate(part: int, whole: int) -> float | None:
    return _quotient(part, whole, _TEN_THOUSANDTHS)


def _quotient(numerator: int, denominator: int, scale: int) -> float | None:
    """Divide exactly and round half to even, to a `scale`-th; ``None`` where there is nothing to divide by.

    In integers: a year by the hour has thousands of means, and `Fraction` takes ten times as long.
    """
    if not denominator:
        return None
    quotient, rest = divmod(numerator * scale, denominator)
    if (2 * rest, quotient % 2) > (denominator, 0):
        quotient += 1
    return quotient / scale
