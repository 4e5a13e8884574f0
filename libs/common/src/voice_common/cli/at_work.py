"""A sign on a terminal that a command is at work, where it says nothing else for over a second."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_AFTER_SECONDS = 1.0


class _Sign:
    def __init__(self, text: str) -> None:
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._show, args=(text,), daemon=True)
        self._thread.start()

    def end(self) -> None:
        self._over.set()
        self._thread.join()

    def _show(self, text: str) -> None:
        if self._over.wait(_AFTER_SECONDS):
            return
        from rich.console import Console  # noqa: PLC0415 - see the package

        with Console(stderr=True).status(text):
            self._over.wait()


class _Shown:
    sign: _Sign | None = None
    bars: int = 0


@contextmanager
def patience(text: str) -> Iterator[None]:
    """Show `text` and something that moves, from a second on until the block ends or a progress bar begins."""
    if _Shown.sign is not None or _Shown.bars or not sys.stderr.isatty():
        yield
        return
    sign = _Shown.sign = _Sign(text)
    try:
        yield
    finally:
        sign.end()
        _Shown.sign = None


@contextmanager
def instead_of_patience() -> Iterator[None]:
    """Keep the terminal for something else that moves."""
    if _Shown.sign is not None:
        _Shown.sign.end()
    _Shown.bars += 1
    try:
        yield
    finally:
        _Shown.bars -= 1
