"""Sums over calls: integers only, so that a day is the sum of its hours and nothing is lost to rounding."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple


class Sums(NamedTuple):
    """What is summed over a set of calls; `duration_ms` and `recorded` are over the completed ones.

    Rollups store the values in this order: a new field goes to the end, with a new version of the rollups.
    """

    calls: int = 0
    completed: int = 0
    duration_ms: int = 0
    recorded: int = 0
    tools_succeeded: int = 0
    tools_known: int = 0
    positive: int = 0
    neutral: int = 0
    negative: int = 0


def add_up(parts: Iterable[Sums]) -> Sums:
    """Add sums of disjoint sets of calls."""
    return Sums(*(sum(column) for column in zip(*parts, strict=True)))


def take_off(whole: Sums, part: Sums) -> Sums:
    """Take the sums of a part of a set of calls off those of the set."""
    return Sums(*(left - right for left, right in zip(whole, part, strict=True)))
