"""A budget of signature verifications for events of which no tenant is known.

Any known key counts for them, so one request could cost as many verifications as there are keys; without a
bound, strangers could keep a worker busy with nothing else.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from voice_common.errors import Overasked

_A_SECOND = 2000.0


class VerificationBudget:
    """Verifications a second, at most a second's worth saved up."""

    def __init__(self, *, a_second: float = _A_SECOND, clock: Callable[[], float] = time.monotonic) -> None:
        self._a_second = a_second
        self._clock = clock
        self._left = a_second
        self._as_of = clock()

    def spend(self) -> None:
        """Pay for one verification; raise `Overasked` where the budget is spent."""
        now = self._clock()
        self._left = min(self._a_second, self._left + (now - self._as_of) * self._a_second)
        self._as_of = now
        if self._left < 1:
            raise Overasked("Too many webhooks of unknown tenants")
        self._left -= 1
