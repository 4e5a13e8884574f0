"""The same question to three: our rollups, MongoDB's aggregation over the calls, and DuckDB."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import duckdb

from benchmarks.analytics.dataset import table_of, tenant_of
from voice_analytics import figures
from voice_analytics.cover import Span
from voice_analytics.query import CallSums
from voice_analytics.scan import sums_by_hour
from voice_analytics.sums import Sums
from voice_common.mongo import Database
from voice_common.store.conversations import CONVERSATIONS
from voice_common.times import DAY_MS, HOUR_MS, TimeRange

_WIDTHS = {"timeline day": DAY_MS, "timeline hour": HOUR_MS}
_OVERVIEW = ("calls", "completed", "duration_ms", "recorded")
_FIELDS = {
    "overview": _OVERVIEW,
    "detailed": Sums._fields,
    "timeline day": _OVERVIEW[:3],
    "timeline hour": _OVERVIEW[:3],
}
_SQL = {
    "calls": "count(*)",
    "completed": "count(*) filter (phase = 'completed')",
    "duration_ms": "coalesce(sum(duration_ms) filter (phase = 'completed'), 0)",
    "recorded": "count(*) filter (phase = 'completed' and recording_available)",
    "tools_succeeded": "coalesce(sum(tools_succeeded), 0)",
    "tools_known": "coalesce(sum(tools_known), 0)",
    **{label: f"count(*) filter (sentiment = '{label}')" for label in ("positive", "neutral", "negative")},
}


@dataclass(frozen=True, slots=True)
class Question:
    """One view of one range of the calls of a tenant that has `calls` of them."""

    view: str
    calls: int
    period: Span


def answer_of(view: str, buckets: dict[int, Sums]) -> object:
    """Give what the API answers, from sums by bucket (one bucket where the view is no timeline)."""
    if view in _WIDTHS:
        return figures.timeline(buckets)
    sums = next(iter(buckets.values()), Sums())
    return figures.overview(sums) if view == "overview" else figures.detailed(sums)


async def ask_ours(call_sums: CallSums, question: Question) -> object:
    """Answer as the service does, uncached."""
    tenant, period = tenant_of(question.calls), TimeRange(*question.period)
    if question.view in _WIDTHS:
        return answer_of(question.view, await call_sums.buckets(tenant, period, _WIDTHS[question.view]))
    return answer_of(question.view, {0: await call_sums.total(tenant, period)})


async def ask_mongo(database: Database, question: Question) -> object:
    """Answer by an aggregation over all calls of the range; it may use every index, our covering one too."""
    match, by_hour = sums_by_hour(tenant_of(question.calls), [question.period])
    width = _WIDTHS.get(question.view)
    group: dict[str, Any] = {name: by_hour["$group"][name] for name in _FIELDS[question.view]}
    bucket = None if width is None else {"$subtract": ["$started_at", {"$mod": ["$started_at", width]}]}
    cursor = await database[CONVERSATIONS].aggregate([match, {"$group": {"_id": bucket, **group}}])
    return answer_of(question.view, {row.pop("_id") or 0: Sums(**row) async for row in cursor})


def ask_duckdb(tables: duckdb.DuckDBPyConnection, question: Question) -> object:
    """Answer by a query over all calls of the range, on all cores."""
    width = _WIDTHS.get(question.view)
    bucket = "0" if width is None else f"started_at // {width} * {width}"
    fields = _FIELDS[question.view]
    sums = ", ".join(_SQL[name] for name in fields)
    rows = tables.execute(
        f"select {bucket} as bucket, {sums} from {table_of(question.calls)} "  # noqa: S608 - names of our own
        "where started_at >= ? and started_at < ? group by bucket",
        list(question.period),
    ).fetchall()
    buckets = {
        start: Sums(**{name: int(value) for name, value in zip(fields, values, strict=True)}) for start, *values in rows
    }
    return answer_of(question.view, buckets)
