"""The answers of analytics: exactly these keys (API reference)."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from typing_extensions import TypedDict

from voice_common.web.shapes import Timestamp, closed

Count = Annotated[int, Field(ge=0)]
Rate = Annotated[float, Field(ge=0, le=1)]


@closed
class OverviewMetrics(TypedDict):
    """How many calls there were, how long they took and how many were recorded."""

    total_calls: Annotated[Count, Field(description="Conversations of channel voice that started in the range.")]
    completed_calls: Annotated[Count, Field(description="Those with status `completed`.")]
    incomplete_calls: Annotated[Count, Field(description="`total_calls` less `completed_calls`.")]
    avg_duration_seconds: Annotated[
        float | None,
        Field(description="Mean talk time of completed calls, one decimal; `null` where there are none."),
    ]
    recording_availability_rate: Annotated[
        Rate | None,
        Field(
            description="Completed calls with an available recording ÷ completed calls, 4 decimals; `null` without any."
        ),
    ]


@closed
class SentimentDistribution(TypedDict):
    """Calls by sentiment: the provider's label, else computed where the caller spoke English.

    Calls without a label whose caller spoke another language, or too few words to tell, are in none of the three.
    """

    positive: Count
    neutral: Count
    negative: Count


@closed
class DetailedMetrics(OverviewMetrics):
    """The overview, and how tool calls went and callers felt."""

    tool_call_success_rate: Annotated[
        Rate | None,
        Field(
            description="Tool calls that succeeded ÷ tool calls whose outcome is known, 4 decimals; `null` without any."
        ),
    ]
    sentiment_distribution: SentimentDistribution


@closed
class Bucket(TypedDict):
    """The calls that started in one bucket."""

    bucket: Annotated[Timestamp, Field(description="Start of the bucket.")]
    call_count: Annotated[Count, Field(description="Calls that started in it.")]
    avg_duration_seconds: Annotated[
        float | None, Field(description="Mean talk time of its completed calls, one decimal; `null` without any.")
    ]


@closed
class Overview(TypedDict):
    """Answer of the overview."""

    metrics: OverviewMetrics


@closed
class Detailed(TypedDict):
    """Answer of the detailed view."""

    metrics: DetailedMetrics


@closed
class Timeline(TypedDict):
    """Answer of the timeline: its buckets, ascending."""

    timeline: list[Bucket]
