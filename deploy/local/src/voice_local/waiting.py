"""Says on standard error what a start waits for, so that nobody looks at an empty screen."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import click

_FIRST_SECONDS = 5.0
_EVERY_SECONDS = 10.0
_TERMINAL_SECONDS = 0.2


@asynccontextmanager
async def waiting_for(what: Callable[[], str]) -> AsyncIterator[None]:
    """Tell what is waited for, as `what` gives it at each moment, until the block ends.

    A terminal has one line that changes and goes away; elsewhere a line is written after 5 seconds, then every 10.
    """
    begun = time.monotonic()

    def told() -> str:
        return f"waiting for {what()} ({time.monotonic() - begun:.0f} s)"

    teller = asyncio.create_task(_on_terminal(told) if sys.stderr.isatty() else _in_lines(told))
    try:
        yield
    finally:
        teller.cancel()
        with suppress(asyncio.CancelledError):
            await teller


async def _on_terminal(told: Callable[[], str]) -> None:
    from rich.console import Console  # noqa: PLC0415 - takes long, and only a terminal needs it

    with Console(stderr=True).status(told()) as line:
        while True:
            await asyncio.sleep(_TERMINAL_SECONDS)
            line.update(told())


async def _in_lines(told: Callable[[], str]) -> None:
    pause = _FIRST_SECONDS
    while True:
        await asyncio.sleep(pause)
        click.echo(f"voice: {told()}", err=True)
        pause = _EVERY_SECONDS
