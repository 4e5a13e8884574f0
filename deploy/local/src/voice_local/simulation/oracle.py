"""What the analytics must say of simulated calls, worked out from what is true of them, not from their events."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import Any

from voice_common.times import DAY_MS, render_ms
from voice_local.simulation.story import Call


def metrics(calls: Sequence[Call]) -> dict[str, Any]:
    """Give the metrics as ``detailed`` answers them."""
    completed = [call for call in calls if call.completed]
    outcomes = [succeeded for call in calls for succeeded in call.tools.values()]
    labels = [call.sentiment for call in calls]
    return {
        "total_calls": len(calls),
        "completed_calls": len(completed),
        "incomplete_calls": len(calls) - len(completed),
        "avg_duration_seconds": _mean_talk_time(calls),
        "recording_availability_rate": _ratio(sum(call.recorded for call in completed), len(completed)),
        "tool_call_success_rate": _ratio(sum(outcomes), len(outcomes)),
        "sentiment_distribution": {label: labels.count(label) for label in ("positive", "neutral", "negative")},
    }


def timeline(calls: Iterable[Call]) -> list[dict[str, Any]]:
    """Give the days that have calls, as ``timeline`` answers them."""
    days: dict[int, list[Call]] = {}
    for call in calls:
        days.setdefault(call.started_at - call.started_at % DAY_MS, []).append(call)
    return [
        {"bucket": render_ms(day), "call_count": len(some), "avg_duration_seconds": _mean_talk_time(some)}
        for day, some in sorted(days.items())
    ]


def _mean_talk_time(calls: Iterable[Call]) -> float | None:
    times = [
        call.ended_at - call.answered_at for call in calls if call.answered_at is not None and call.ended_at is not None
    ]
    return float(round(Fraction(sum(times), 1000 * len(times)), 1)) if times else None


def _ratio(part: int, whole: int) -> float | None:
    return float(round(Fraction(part, whole), 4)) if whole else None
