"""The window's laws: for any arrival times no 60 s admit more than the limit, and refused requests use nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import redis
from hypothesis import given, settings
from hypothesis import strategies as st

from voice_gateway.window import READ_CLOCK, SCRIPT, LocalWindows
from voice_local.servers import Server

WINDOW_US = 60_000_000
START_US = 1_795_380_000_000_000
SETTABLE = SCRIPT.replace(READ_CLOCK, "local clock = {ARGV[2], ARGV[3]}")

arrivals = st.lists(
    st.one_of(st.just(0), st.integers(0, 5), st.integers(0, 70_000_000), st.sampled_from([WINDOW_US - 1, WINDOW_US])),
    min_size=1,
    max_size=60,
)


@pytest.fixture(scope="module")
def script(redis_server: Server) -> Any:
    assert SETTABLE != SCRIPT
    client = redis.Redis.from_url(redis_server.url)
    client.delete("voice:limit:{law}:x")
    return client


def model(times: list[int], limit: int) -> list[bool]:
    """What must be admitted: the definition, told in the simplest way."""
    admitted: list[int] = []
    verdicts = []
    for now in times:
        ok = sum(now - WINDOW_US < each <= now for each in admitted) < limit
        if ok:
            admitted.append(now)
        verdicts.append(ok)
    return verdicts


def running_times(gaps: list[int]) -> list[int]:
    times, now = [], START_US
    for gap in gaps:
        now += gap
        times.append(now)
    return times


@settings(max_examples=80, deadline=None)
@given(gaps=arrivals, limit=st.integers(1, 7))
def test_the_script_admits_exactly_what_the_definition_does(script: Any, gaps: list[int], limit: int) -> None:
    times = running_times(gaps)
    script.delete("voice:limit:{law}:x")
    run: Callable[..., Any] = script.register_script(SETTABLE)
    replies = [run(keys=["voice:limit:{law}:x"], args=[limit, now // 10**6, now % 10**6]) for now in times]
    expected = model(times, limit)
    assert [bool(reply[0]) for reply in replies] == expected
    admitted: list[int] = []
    for now, ok, (_, remaining, full_in, free_in, _) in zip(times, expected, replies, strict=True):
        if ok:
            admitted.append(now)
        inside = [each for each in admitted if each > now - WINDOW_US]
        assert remaining == limit - len(inside)
        assert full_in == inside[-1] + WINDOW_US - now
        if not ok:
            assert free_in == inside[-limit] + WINDOW_US - now


def test_a_window_is_gone_from_redis_once_nothing_is_in_it(script: Any) -> None:
    script.delete("voice:limit:{law}:x")
    run = script.register_script(SCRIPT)
    assert run(keys=["voice:limit:{law}:x"], args=[5])[0] == 1
    assert 59_000 < script.pttl("voice:limit:{law}:x") <= 60_001


def test_a_lowered_limit_counts_at_once(script: Any) -> None:
    script.delete("voice:limit:{law}:x")
    run = script.register_script(SETTABLE)
    for n in range(5):
        assert run(keys=["voice:limit:{law}:x"], args=[5, START_US // 10**6 + n, 0])[0] == 1
    refused = run(keys=["voice:limit:{law}:x"], args=[2, START_US // 10**6 + 5, 0])
    assert refused[0] == 0
    assert refused[3] == 58_000_000, "free when only one of the five is left in the window"


@settings(max_examples=100, deadline=None)
@given(gaps=arrivals, limit=st.integers(1, 7))
def test_a_process_alone_admits_exactly_what_the_definition_does(gaps: list[int], limit: int) -> None:
    times = running_times(gaps)
    clock = iter([(each - START_US) / 1_000_000 for each in times])
    windows = LocalWindows(clock=lambda: next(clock))
    verdicts = [windows.check("x", limit).allowed for _ in times]
    micro = [(each - START_US) / 1_000_000 for each in times]
    admitted = [moment for moment, ok in zip(micro, verdicts, strict=True) if ok]
    for moment in micro:
        assert sum(moment - 60 < each <= moment for each in admitted) <= limit


def test_windows_of_a_process_are_bounded() -> None:
    windows = LocalWindows(size=10)
    for n in range(100):
        windows.check(str(n), 1)
    assert len(windows._windows) == 10
