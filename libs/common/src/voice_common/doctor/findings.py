"""Checks and what they find."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from voice_common.mongo import Database


class Outcome(StrEnum):
    """How bad it is."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found, in a sentence; `advice` says what to do where something is not right."""

    outcome: Outcome
    message: str
    advice: str = ""


def ok(message: str) -> Finding:
    """Make the finding that all is well."""
    return Finding(Outcome.OK, message)


def warning(message: str, advice: str) -> Finding:
    """Make the finding of something that works now and should be looked after."""
    return Finding(Outcome.WARNING, message, advice)


def failed(message: str, advice: str) -> Finding:
    """Make the finding of something that does not work or breaks a promise."""
    return Finding(Outcome.FAILED, message, advice)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What is examined: the store, and the ``stack.json`` of a running local stack where it is one."""

    database: Database
    stack: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class Check:
    """One thing to look at; `look` may raise what the store raises. Nothing is changed by it."""

    name: str
    look: Callable[[Surroundings], Awaitable[Finding]]
    needs_store: bool = True
