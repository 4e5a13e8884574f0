"""What the API must answer of calls, worked out from what is true of them, not from their events."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from soak.calls import Call
from voice_common.times import HOUR_MS, render_ms, render_optional_ms
from voice_local.simulation import oracle

_OVERVIEW = (
    "total_calls",
    "completed_calls",
    "incomplete_calls",
    "avg_duration_seconds",
    "recording_availability_rate",
)


def detailed(calls: Sequence[Call]) -> dict[str, Any]:
    return {"metrics": oracle.metrics([call.truth for call in calls])}


def overview(calls: Sequence[Call]) -> dict[str, Any]:
    metrics = oracle.metrics([call.truth for call in calls])
    return {"metrics": {name: metrics[name] for name in _OVERVIEW}}


def days(calls: Sequence[Call]) -> dict[str, Any]:
    return {"timeline": oracle.timeline([call.truth for call in calls])}


def hours(calls: Sequence[Call]) -> dict[str, Any]:
    by_hour: dict[int, list[Call]] = {}
    for call in calls:
        by_hour.setdefault(call.truth.started_at // HOUR_MS * HOUR_MS, []).append(call)
    return {
        "timeline": [
            {
                "bucket": render_ms(hour),
                "call_count": len(some),
                "avg_duration_seconds": overview(some)["metrics"]["avg_duration_seconds"],
            }
            for hour, some in sorted(by_hour.items())
        ]
    }


def listed(call: Call, now: int) -> dict[str, Any]:
    truth, ms = call.truth, None
    if truth.answered_at is not None and truth.ended_at is not None:
        ms = truth.ended_at - truth.answered_at
    return {
        "id": call.id,
        "channel": "voice",
        "status": call.status(now),
        "direction": call.direction,
        "from": call.caller,
        "to": call.callee,
        "started_at": render_ms(truth.started_at),
        "answered_at": render_optional_ms(truth.answered_at),
        "ended_at": render_optional_ms(truth.ended_at),
        "duration_seconds": None if ms is None else ms / 1000,
        "sentiment": truth.sentiment,
        "recording_available": truth.recorded,
    }


def detail(call: Call, now: int) -> dict[str, Any]:
    more = {"hangup_cause": call.hangup_cause, "tool_calls": list(call.tools), "message_count": len(call.messages)}
    return {"conversation": {**listed(call, now), **more}}


def messages(call: Call) -> list[dict[str, Any]]:
    return list(call.messages)


def recording(call: Call) -> tuple[int, dict[str, Any]]:
    """Give the status and the body."""
    if call.recording is not None:
        return 200, {"recording": call.recording}
    nothing = {"id": None, "urls": None, "duration_seconds": None, "available": False}
    times = {
        "started_at": render_ms(call.truth.started_at),
        "ended_at": render_optional_ms(call.truth.ended_at),
    }
    return 404, {"recording": {**nothing, **times}}
