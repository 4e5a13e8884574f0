"""Whether another machine's clock and this one's agree."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from voice_common.doctor.findings import Finding, failed, ok, warning
from voice_common.times import now_ms

_NOTICEABLE_MS = 1000
_HARMFUL_MS = 30_000
_ADVICE = "synchronise both machines' clocks (chrony, systemd-timesyncd): signatures and tokens have times in them"


async def compared(whose: str, read: Callable[[], Awaitable[int]]) -> Finding:
    """Compare a clock that `read` gives in milliseconds with this machine's; the way there is taken off."""
    asked = now_ms()
    theirs = await read()
    answered = now_ms()
    # Within the time that the question took, nobody can tell.
    skew = 0 if asked <= theirs <= answered else min(abs(theirs - asked), abs(theirs - answered))
    message = f"{whose} and this machine differ by {skew / 1000:.1f} s"
    if skew >= _HARMFUL_MS:
        return failed(message, _ADVICE)
    if skew >= _NOTICEABLE_MS:
        return warning(message, _ADVICE)
    return ok(message)
