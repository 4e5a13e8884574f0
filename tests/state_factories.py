"""A call's state out of parts, as the tests of what it comes to put it together."""

from __future__ import annotations

from collections.abc import Iterable
from functools import reduce

from voice_common.store.facts import (
    Facts,
    Knows,
    facts_of,
)
from voice_common.store.state import CallState

T0 = 1_000_000


def whole(*parts: CallState) -> CallState:
    return reduce(CallState.join, parts, CallState(started_at=T0, newest_at=T0))


def in_english(_said: Iterable[str]) -> bool:
    return True


def facts(*parts: CallState, knows: Knows = in_english) -> Facts:
    return facts_of(whole(*parts), knows)
