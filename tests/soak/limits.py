"""The rate limit, checked on the history: never more in 60 s than what the contract lets in."""

from __future__ import annotations

import re
from collections.abc import Sequence

import aiohttp

from soak.ledger import Ledger

WINDOW_SECONDS = 60.0
_APART_SECONDS = 10.0
_DEGRADED = re.compile(r"^voice_gateway_limiter_degraded (\S+)", re.MULTILINE)
_LOCAL = re.compile(r'^voice_gateway_limit_decisions_total\{[^}]*source="local"[^}]*\} (\S+)', re.MULTILINE)
_WAIT = aiohttp.ClientTimeout(total=2)


class LimiterWatch:
    """Looks whether gateways have limited by themselves; each time they have is written into the ledger."""

    def __init__(self, session: aiohttp.ClientSession, url: str, ledger: Ledger) -> None:
        self._session = session
        self._url = url
        self._ledger = ledger
        self._local = 0.0

    async def look(self) -> None:
        """Look once; a gateway that can't be asked may have limited by itself as well."""
        try:
            async with self._session.get(self._url, timeout=_WAIT) as response:
                text = await response.text()
        except (aiohttp.ClientError, TimeoutError):
            self._ledger.disturbed.append(self._ledger.now)
            return
        degraded = sum(float(value) for value in _DEGRADED.findall(text))
        local = sum(float(value) for value in _LOCAL.findall(text))
        if degraded or local != self._local:
            self._ledger.disturbed.append(self._ledger.now)
        self._local = local


def excess(admitted: Sequence[tuple[float, float]], disturbed: Sequence[float], limit: int) -> str | None:
    """Give a window of 60 s that let in more than it may; `admitted` are when requests were sent and answered.

    Without Redis each process limits at its share: one allowance more over all of them, and another one where Redis
    has lost its data. A gateway that is started anew meanwhile has forgotten its share.
    """
    incidents: list[list[float]] = []
    for moment in sorted(disturbed):
        if incidents and moment - incidents[-1][-1] < _APART_SECONDS:
            incidents[-1].append(moment)
        else:
            incidents.append([moment])
    for start, _ in admitted:
        within = sum(start <= sent and answered <= start + WINDOW_SECONDS for sent, answered in admitted)
        # What disturbs is seen a little later than it begins, or ends a little later than it was seen.
        near = [
            each for each in incidents if each[-1] > start - _APART_SECONDS and each[0] < start + WINDOW_SECONDS + 5
        ]
        restarts = sum(len(each) for each in near) if near else 0
        allowed = limit * (1 + 2 * len(near) + restarts // 4)
        if within > allowed:
            return f"{within} requests in the 60 s from {start:.1f} s on, where {allowed} may pass"
    return None
