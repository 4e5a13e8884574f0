"""The handlers of analytics: parse, sum, render."""

from __future__ import annotations

from aiohttp import web

from voice_analytics import figures
from voice_analytics.parameters import RangeQuery, TimelineQuery
from voice_analytics.query import CallSums
from voice_analytics.sums import Sums
from voice_common.web.callers import for_tenant
from voice_common.web.query import parse_query
from voice_common.web.render import json_response

CALL_SUMS = web.AppKey("call_sums", CallSums)


@for_tenant("analytics")
async def overview(request: web.Request, tenant: str) -> web.StreamResponse:
    """Answer how many calls there were, how many were completed, how long they took and how many were recorded."""
    period = parse_query(request, RangeQuery).period()
    sums = await request.app[CALL_SUMS].total(tenant, period)
    return json_response({"metrics": figures.overview(sums)})


@for_tenant("analytics")
async def detailed(request: web.Request, tenant: str) -> web.StreamResponse:
    """Answer what the overview does, and how tool calls went and callers felt."""
    period = parse_query(request, RangeQuery).period()
    sums = await request.app[CALL_SUMS].total(tenant, period)
    return json_response({"metrics": figures.detailed(sums)})


@for_tenant("analytics")
async def timeline(request: web.Request, tenant: str) -> web.StreamResponse:
    """Answer the calls by day or hour, ascending."""
    query = parse_query(request, TimelineQuery)
    period, width, shown = query.period(), query.width(), query.filled_starts()
    buckets = await request.app[CALL_SUMS].buckets(tenant, period, width)
    return json_response({"timeline": figures.timeline(dict.fromkeys(shown, Sums()) | buckets)})
