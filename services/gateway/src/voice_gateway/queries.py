"""The normal form of an analytics query: equivalent spellings share one cached answer."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from voice_common.errors import BadRequest
from voice_common.times import parse_range
from voice_common.web.query import query_pairs

_RANGE = frozenset({"start_date", "end_date"})
_BUCKETS = frozenset({"day", "hour"})


@dataclass(frozen=True, slots=True)
class Report:
    """One report of analytics: its path, how long its answers are fresh, and whether it has buckets."""

    name: str
    ttl: int
    has_buckets: bool = False

    @property
    def path(self) -> str:
        """The route."""
        return f"/api/voice/analytics/{self.name}"


OVERVIEW = Report("overview", 60)
DETAILED = Report("detailed", 60)
TIMELINE = Report("timeline", 300, has_buckets=True)
REPORTS = (OVERVIEW, DETAILED, TIMELINE)


@lru_cache(maxsize=4096)
def normal_form(report: Report, query: str) -> str | None:
    """Give the text that all equivalent raw queries of a report have in common.

    ``None`` for a query that the service will refuse: that is for the service to say, and is not cached.
    """
    try:
        pairs = query_pairs(f"?{query}")
        bounds = parse_range(pairs.get("start_date"), pairs.get("end_date"))
    except BadRequest:
        return None
    others = {name: value for name, value in pairs.items() if name not in _RANGE}
    bucket = others.pop("bucket", "day") if report.has_buckets else ""
    fill = others.pop("fill", "") if report.has_buckets else ""
    if others or (report.has_buckets and bucket not in _BUCKETS) or fill not in {"", "zero"}:
        return None
    if (report.has_buckets and "fill" in pairs) and not fill:
        return None
    return f"{report.name}?{bounds.start}&{bounds.end}&{bucket}&{fill}"
