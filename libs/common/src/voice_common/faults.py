"""Points between two steps where a crash test ends the process, as a power cut would.

Call sites say ``if __debug__: reach("area.point")``, which ``python -O`` compiles to nothing; the images of a
production run with it. Without the two variables of a crash test it does nothing anyway.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

_POINT = os.environ.get("VOICE_FAULT_POINT")
_FUSE = os.environ.get("VOICE_FAULT_FUSE")


def reach(point: str) -> None:
    """Kill this process (SIGKILL) where `point` is the one under test and its fuse, a file, is still there."""
    if point == _POINT and _FUSE is not None:
        try:
            Path(_FUSE).unlink()
        except FileNotFoundError:
            return  # it burnt in another process or in a life before this one
        os.kill(os.getpid(), signal.SIGKILL)
