"""The trace context of a request, in all lines of its headers."""

from __future__ import annotations

from aiohttp.test_utils import make_mocked_request
from multidict import CIMultiDict
from opentelemetry import trace
from opentelemetry.trace import SpanContext

from voice_common.web.tracing import context_of

PARENT = f"00-{1:032x}-{2:016x}-01"


def brought(*lines: tuple[str, str]) -> SpanContext:
    request = make_mocked_request("GET", "/", headers=CIMultiDict(lines))
    return trace.get_current_span(context_of(request)).get_span_context()


def test_a_trace_state_in_several_lines_is_one_list() -> None:
    context = brought(("traceparent", PARENT), ("tracestate", "a=1"), ("tracestate", "b=2,c=3"))
    assert (context.trace_id, context.span_id) == (1, 2)
    assert dict(context.trace_state) == {"a": "1", "b": "2", "c": "3"}


def test_a_trace_parent_that_came_twice_is_none() -> None:
    assert not brought(("traceparent", PARENT), ("traceparent", PARENT)).is_valid
    assert not brought().is_valid
