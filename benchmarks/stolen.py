"""What the hypervisor takes: CPU time that this machine wanted and others of its host got (`steal` of proc_stat(5)).

A core that is taken away for 5 ms shows as a latency of 5 ms, and no program that runs here can help it.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

_STAT = Path("/proc/stat")
_STEAL = 8


class Stolen:
    """Measures from when it is made."""

    def __init__(self) -> None:
        self._ticks = _ticks()
        self._began = time.perf_counter()

    def share(self) -> float:
        """Give the share of all cores' time that was taken since; 0 where the kernel does not tell."""
        available = (time.perf_counter() - self._began) * (os.cpu_count() or 1) * os.sysconf("SC_CLK_TCK")
        return (_ticks() - self._ticks) / available


def _ticks() -> int:
    if not _STAT.is_file():
        return 0
    fields = _STAT.read_text().partition("\n")[0].split()
    return int(fields[_STEAL]) if len(fields) > _STEAL else 0
