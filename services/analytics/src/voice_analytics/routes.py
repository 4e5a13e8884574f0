"""The routes that the gateway forwards, each with what its callers are told of it."""

from __future__ import annotations

from voice_analytics.handlers import detailed, overview, timeline
from voice_analytics.parameters import RangeQuery, TimelineQuery
from voice_analytics.shapes import Detailed, Overview, OverviewMetrics, Timeline
from voice_common.web.openapi import Answer, Endpoint, failure

_TAG = "Analytics"
_EXACT = (
    "The figures are exact: equal to a scan over all calls at the moment when they were computed, also for events that "
    "came late, twice or in another order."
)
_BAD_RANGE = (
    "start_date must be a date (YYYY-MM-DD) or an RFC 3339 date-time of the years 1970 to 9998",
    "start_date must not be after end_date",
    "Unknown query parameter from",
    "Query parameter end_date is given more than once",
)
_BAD_TIMELINE = (
    "bucket must be day or hour",
    "fill=zero needs both start_date and end_date",
    "fill=zero gives at most 10000 buckets: choose a shorter range or bucket=day",
)
_METRICS: OverviewMetrics = {
    "total_calls": 150,
    "completed_calls": 142,
    "incomplete_calls": 8,
    "avg_duration_seconds": 245.5,
    "recording_availability_rate": 0.95,
}
_NO_METRICS: OverviewMetrics = {
    "total_calls": 0,
    "completed_calls": 0,
    "incomplete_calls": 0,
    "avg_duration_seconds": None,
    "recording_availability_rate": None,
}
_OVERVIEW: dict[str, Overview] = {"metrics": {"metrics": _METRICS}, "no_calls": {"metrics": _NO_METRICS}}
_DETAILED: dict[str, Detailed] = {
    "metrics": {
        "metrics": {
            **_METRICS,
            "tool_call_success_rate": 0.92,
            "sentiment_distribution": {"positive": 85, "neutral": 45, "negative": 20},
        }
    },
    "no_calls": {
        "metrics": {
            **_NO_METRICS,
            "tool_call_success_rate": None,
            "sentiment_distribution": {"positive": 0, "neutral": 0, "negative": 0},
        }
    },
}
_TIMELINE: dict[str, Timeline] = {
    "days": {
        "timeline": [
            {"bucket": "2025-01-15T00:00:00Z", "call_count": 12, "avg_duration_seconds": 230.5},
            {"bucket": "2025-01-16T00:00:00Z", "call_count": 15, "avg_duration_seconds": 245.2},
        ]
    },
    "no_calls": {"timeline": []},
}

ENDPOINTS = (
    Endpoint(
        method="GET",
        path="/api/voice/analytics/overview",
        handler=overview,
        id="getAnalyticsOverview",
        tag=_TAG,
        summary="Get voice analytics overview",
        description=f"High-level metrics of the tenant's calls that started in a range. {_EXACT}",
        query=RangeQuery,
        answers={
            200: Answer(description="The metrics of the range.", body=Overview, examples=_OVERVIEW),
            400: failure("The query can't be understood; the sentence names what.", *_BAD_RANGE),
        },
    ),
    Endpoint(
        method="GET",
        path="/api/voice/analytics/detailed",
        handler=detailed,
        id="getAnalyticsDetailed",
        tag=_TAG,
        summary="Get detailed voice analytics",
        description=f"The overview's metrics, how tool calls went and how callers felt. {_EXACT}",
        query=RangeQuery,
        answers={
            200: Answer(description="The metrics of the range.", body=Detailed, examples=_DETAILED),
            400: failure("The query can't be understood; the sentence names what.", *_BAD_RANGE),
        },
    ),
    Endpoint(
        method="GET",
        path="/api/voice/analytics/timeline",
        handler=timeline,
        id="getAnalyticsTimeline",
        tag=_TAG,
        summary="Get voice analytics timeline",
        description="Calls by UTC day or hour, ascending: only buckets that have calls, unless `fill=zero`. " + _EXACT,
        query=TimelineQuery,
        answers={
            200: Answer(description="The buckets of the range.", body=Timeline, examples=_TIMELINE),
            400: failure("The query can't be understood; the sentence names what.", *_BAD_RANGE, *_BAD_TIMELINE),
        },
    ),
)
