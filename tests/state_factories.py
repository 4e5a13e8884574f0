"""A call's state out of parts, as the tests of what it comes to put it together."""

from __future__ import annotations

from functools import reduce

from voice_common.store.facts import (
    Facts,
    facts_of,
)
from voice_common.store.state import (
    CallState,
)

T0 = 1_000_000


def whole(*parts: CallState) -> CallState:
    return reduce(CallState.join, parts, CallState(started_at=T0, newest_at=T0))


def facts(*parts: CallState) -> Facts:
    return facts_of(whole(*parts))
