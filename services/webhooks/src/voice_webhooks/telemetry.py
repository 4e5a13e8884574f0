"""Metrics of the webhooks service."""

from __future__ import annotations

from functools import cache

from prometheus_client import Counter, Gauge, Histogram

RESULTS = Counter("voice_webhooks_results_total", "Webhooks answered, by what became of them", ["result"])


@cache
def result_counter(result: str) -> Counter:
    """Give the counter of one result; there are few, and making a label takes locks."""
    return RESULTS.labels(result)


EVENTS = Counter("voice_webhooks_events_total", "Webhooks answered with 200, by their event's type", ["type", "result"])
OTHER_TYPE = "other"
EVENT_TYPES = frozenset(
    {
        "ai.assistant.ended",
        "ai.assistant.response",
        "ai.assistant.tool_call",
        "ai.assistant.transcript",
        "assistant.initialization",
        "call.ai_gather.ended",
        "call.ai_gather.message_history_updated",
        "call.ai_gather.partial_results",
        "call.answered",
        "call.bridged",
        "call.conversation.created",
        "call.conversation.ended",
        "call.conversation_insights.generated",
        "call.cost",
        "call.deepfake_detection.error",
        "call.deepfake_detection.result",
        "call.dequeued",
        "call.dtmf.received",
        "call.enqueued",
        "call.fork.started",
        "call.fork.stopped",
        "call.gather.ended",
        "call.hangup",
        "call.hold",
        "call.initiated",
        "call.machine.detection.ended",
        "call.machine.greeting.ended",
        "call.machine.premium.detection.ended",
        "call.machine.premium.detection.started",
        "call.machine.premium.greeting.ended",
        "call.playback.ended",
        "call.playback.started",
        "call.recording.error",
        "call.recording.saved",
        "call.recording.transcription.saved",
        "call.refer.completed",
        "call.refer.failed",
        "call.refer.started",
        "call.speak.ended",
        "call.speak.started",
        "call.transcription",
        "call.unhold",
        "calls.voicemail.completed",
        "siprec.failed",
        "siprec.started",
        "siprec.stopped",
        "streaming.failed",
        "streaming.started",
        "streaming.stopped",
    }
)
"""The types that have a count of their own; whoever signs events may make up more than a label can take."""

_COUNTERS: dict[tuple[str, str], Counter] = {}


def event_counter(kind: str, result: str) -> Counter:
    """Give the counter of one event type and result; a type that nobody documents is `OTHER_TYPE`."""
    counter = _COUNTERS.get((kind, result))
    if counter is None:
        known = kind if kind in EVENT_TYPES else OTHER_TYPE
        counter = EVENTS.labels(known, result)
        if known is kind:
            _COUNTERS[kind, result] = counter
    return counter


CHECKS = Counter(
    "voice_signature_checks_total", "Signatures checked: by the worker, or by the verifier beside it", ["by"]
)
CHECKED_HERE, CHECKED_BESIDE = CHECKS.labels("worker"), CHECKS.labels("verifier")
BATCH_EVENTS = Histogram(
    "voice_intake_batch_events", "Events in one commit", buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
)
COMMIT_SECONDS = Histogram(
    "voice_intake_commit_seconds", "Time of one commit", buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1)
)
QUEUED_EVENTS = Gauge("voice_intake_queued_events", "Events that wait for a commit", multiprocess_mode="livesum")
LAG_SECONDS = Gauge(
    "voice_projection_lag_seconds",
    "How long the oldest event that is stored and not projected yet has waited",
    multiprocess_mode="livemax",
)
DELAY_SECONDS = Histogram(
    "voice_projection_delay_seconds",
    "Time from an event's commit to its projection",
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300),
)
PROJECTED = Counter("voice_projection_events_total", "Events projected")
LEFT_TO_NEWER = Counter(
    "voice_projection_left_to_newer_total", "Events of calls that newer code has made, left to workers of that code"
)
SET_ASIDE = Counter("voice_projection_set_aside_total", "Events that could not be projected")
TAKEN_OVER = Counter("voice_projection_taken_over_total", "Events projected for a worker that had ended")
QUARANTINED = Gauge(
    "voice_quarantine_events", "Events in quarantine that a tenant may claim", multiprocess_mode="livemax"
)
RELEASED = Counter("voice_quarantine_released_total", "Events released from quarantine")
DELETED = Counter("voice_retention_deleted_total", "Documents deleted because they were kept long enough", ["kind"])
