"""The query parameters of the three routes."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, WithJsonSchema

from voice_common.errors import BadRequest
from voice_common.times import DAY_MS, HOUR_MS, TimeRange, parse_range
from voice_common.web.query import QueryModel
from voice_common.web.shapes import END, START, Bound

_WIDTHS = {"day": DAY_MS, "hour": HOUR_MS}
_MOST_BUCKETS = 10_000


def _one_of(*words: str) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "enum": list(words)})


class RangeQuery(QueryModel):
    """The range of calls that an answer is about."""

    start_date: Annotated[Bound | None, START] = None
    end_date: Annotated[Bound | None, END] = None

    def period(self) -> TimeRange:
        """Give the range in milliseconds; raise `BadRequest` where it is none."""
        return parse_range(self.start_date, self.end_date)


class TimelineQuery(RangeQuery):
    """The range of a timeline, its buckets, and whether empty ones are shown."""

    bucket: Annotated[str, _one_of("day", "hour")] = Field(
        "day", description="Width of a bucket.", examples=["day", "hour"]
    )
    fill: Annotated[str, _one_of("zero")] | None = Field(
        None,
        description="`zero`: every bucket of the range is there, also one without calls. Needs both dates; at most "
        "10,000 buckets.",
        examples=["zero"],
    )

    def width(self) -> int:
        """Give the width of a bucket in milliseconds; raise `BadRequest` for an unknown one."""
        if self.bucket not in _WIDTHS:
            raise BadRequest("bucket must be day or hour")
        return _WIDTHS[self.bucket]

    def filled_starts(self) -> range:
        """Give the starts of the buckets that are shown even when empty; raise `BadRequest` where they can't be."""
        if self.fill is None:
            return range(0)
        if self.fill != "zero":
            raise BadRequest("fill must be zero")
        period, width = self.period(), self.width()
        if period.start is None or period.end is None:
            raise BadRequest("fill=zero needs both start_date and end_date")
        if period.start == period.end:  # the start of its bucket would lie in the range
            return range(0)
        starts = range(period.start - period.start % width, period.end, width)
        if len(starts) > _MOST_BUCKETS:
            raise BadRequest("fill=zero gives at most 10000 buckets: choose a shorter range or bucket=day")
        return starts
