"""A small service for the tests of serving, and strategies that make states of calls."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from aiohttp import web
from hypothesis import strategies as st

from voice_common.store.lattice import Stamped
from voice_common.store.legs import Hangup, Leg
from voice_common.store.state import CallState, Outcome, RecordingFacts, ToolCall
from voice_common.store.transcript import History, Line, Lines, Source
from voice_common.web.app import make_app
from voice_common.web.render import json_response


async def application() -> web.Application:
    """Make the service that gunicorn runs."""
    app = make_app("sample")
    app.add_routes([web.get("/slow", _slow), web.get("/fast", _fast)])
    return app


async def _slow(request: web.Request) -> web.Response:
    Path(request.query["begun"]).touch()
    await asyncio.sleep(0.5)
    return json_response({"slow": True})


async def _fast(_request: web.Request) -> web.Response:
    return json_response({"fast": True})


# Few values of each kind, so that ties and clashes are common.
times = st.integers(0, 4)
names = st.sampled_from(["a", "b", "c"])
texts = st.sampled_from(["", "x", "y"])
times_or_none = st.none() | times


def stamped(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Stamped[Any]]:
    return st.builds(Stamped, times, names, values)


def maybe(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | stamped(values)


roles = st.sampled_from(["user", "assistant"])
told = st.lists(st.builds(Line, roles, texts, times, st.none() | st.integers(-10_000, 10_000)), max_size=3).map(tuple)
flags = st.booleans()
legs = st.builds(Leg, maybe(st.none()), maybe(texts), maybe(texts), maybe(texts), flags, flags, flags, maybe(st.none()))
outcomes = st.builds(Outcome, st.booleans(), st.none() | texts, times_or_none)
tools = st.builds(ToolCall, stamped(times_or_none), maybe(texts), maybe(texts), maybe(outcomes), maybe(outcomes))
recordings = stamped(
    st.builds(RecordingFacts, times_or_none, times_or_none, st.lists(st.sampled_from(["u", "v"])).map(tuple))
)
leg_keys = st.sampled_from(["", "leg:a", "leg:b", "control:a", "control:b"])
tracks = st.sampled_from(["", "inbound", "outbound"])
spoken = st.builds(Lines, times, told, leg_keys, tracks)
links = st.tuples(st.sampled_from(["leg:a", "leg:b"]), st.sampled_from(["control:a", "control:b"]))
states = st.builds(
    CallState,
    keys=st.frozensets(names),
    ids=st.frozensets(names),
    links=st.frozensets(links),
    started_at=times_or_none,
    newest_at=times_or_none,
    answered_at=times_or_none,
    evidence_at=times_or_none,
    hangup=maybe(st.builds(Hangup, times, st.none() | texts)),
    sentiment=maybe(st.sampled_from(["positive", "neutral", "negative"])),
    legs=st.dictionaries(leg_keys, legs),
    recordings=st.dictionaries(names, recordings),
    tools=st.dictionaries(names, tools),
    lines=st.dictionaries(st.tuples(st.sampled_from(list(Source)), names), spoken),
    gather=st.none() | st.builds(History, times, names, told),
    session_ended_at=times_or_none,
    recording_texts=st.dictionaries(names, stamped(texts)),
)
