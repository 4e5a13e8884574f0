"""Metrics of the webhooks service."""

from __future__ import annotations

from functools import cache

from prometheus_client import Counter, Gauge, Histogram

RESULTS = Counter("voice_webhooks_results_total", "Webhooks answered, by what became of them", ["result"])


@cache
def result_counter(result: str) -> Counter:
    """Give the counter of one result; there are few, and making a label takes locks."""
    return RESULTS.labels(result)


BATCH_EVENTS = Histogram(
    "voice_intake_batch_events", "Events in one commit", buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
)
COMMIT_SECONDS = Histogram(
    "voice_intake_commit_seconds", "Time of one commit", buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1)
)
QUEUED_EVENTS = Gauge("voice_intake_queued_events", "Events that wait for a commit", multiprocess_mode="livesum")
LAG_SECONDS = Gauge(
    "voice_projection_lag_seconds", "Age of the oldest event not projected yet", multiprocess_mode="livemax"
)
PROJECTED = Counter("voice_projection_events_total", "Events projected")
SET_ASIDE = Counter("voice_projection_set_aside_total", "Events that could not be projected")
TAKEN_OVER = Counter("voice_projection_taken_over_total", "Events projected for a worker that had ended")
QUARANTINED = Gauge(
    "voice_quarantine_events", "Events in quarantine that a tenant may claim", multiprocess_mode="livemax"
)
RELEASED = Counter("voice_quarantine_released_total", "Events released from quarantine")
DELETED = Counter("voice_retention_deleted_total", "Documents deleted because they were kept long enough", ["kind"])
