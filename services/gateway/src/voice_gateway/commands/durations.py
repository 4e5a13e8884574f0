"""Durations as people write them: ``90d``, ``12h``, ``30m``, ``45s``."""

from __future__ import annotations

import re
from typing import Any

import click

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_FORM = re.compile(r"([1-9]\d{0,8})([smhdw])", re.ASCII)
_LONGEST = 100 * 366 * 86400


class Duration(click.ParamType[Any]):
    """A command's duration; its value is in seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:  # noqa: ANN401 - click's own signature
        """Read ``90d`` and the like; fail with a sentence."""
        if isinstance(value, int):
            return value
        matched = _FORM.fullmatch(str(value))
        seconds = int(matched[1]) * _SECONDS[matched[2]] if matched else 0
        if not 0 < seconds <= _LONGEST:
            self.fail(f"{value!r} is no duration; write 90d, 12h or 30m", param, ctx)
        return seconds
