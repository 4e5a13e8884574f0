"""A circuit breaker: what fails again and again is not asked for a moment, then by one probe."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Self

import structlog

from voice_common.errors import Unavailable
from voice_gateway.metrics import BREAKER_OPEN

_log = structlog.get_logger("voice.gateway.breaker")


class Breaker:
    """Opens after `failures` in a row, for `rest_seconds`; then one probe decides whether it closes."""

    def __init__(
        self,
        name: str,
        *,
        failures: int = 5,
        rest_seconds: float = 0.5,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._name = name
        self._failures_to_open = failures
        self._rest_seconds = rest_seconds
        self._clock = clock
        self._failures = 0
        self._open_until: float | None = None
        self._probing = False

    @property
    def is_open(self) -> bool:
        """Whether calls are refused, but for a probe."""
        return self._open_until is not None

    def call(self) -> Call:
        """Begin a call; raise `Unavailable` where the circuit is open and no probe is due."""
        if self._open_until is None:
            return Call(self, probe=False)
        if self._probing or self._clock() < self._open_until:
            raise Unavailable
        self._probing = True
        return Call(self, probe=True)

    def _succeeded(self) -> None:
        self._failures = 0
        if self._open_until is not None:
            self._open_until = None
            BREAKER_OPEN.labels(self._name).set(0)
            _log.info("circuit closed", dependency=self._name)

    def _failed(self) -> None:
        self._failures += 1
        if self._open_until is None and self._failures < self._failures_to_open:
            return
        if self._open_until is None:
            BREAKER_OPEN.labels(self._name).set(1)
            _log.warning("circuit opened", dependency=self._name)
        self._open_until = self._clock() + self._rest_seconds

    def _ended(self) -> None:
        self._probing = False


class Call:
    """One call through a breaker; it says how it went, or nothing (the caller left)."""

    __slots__ = ("_breaker", "_probe")

    def __init__(self, breaker: Breaker, *, probe: bool) -> None:
        self._breaker = breaker
        self._probe = probe

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._probe:
            self._breaker._ended()  # noqa: SLF001 - one idea in two classes

    def succeeded(self) -> None:
        """Say that the dependency answered."""
        self._breaker._succeeded()  # noqa: SLF001 - one idea in two classes

    def failed(self) -> None:
        """Say that the dependency did not answer."""
        self._breaker._failed()  # noqa: SLF001 - one idea in two classes
