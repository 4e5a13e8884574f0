"""Tables and the closing JSON line of a benchmark."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print rows under a title, columns aligned."""
    cells = [list(columns), *([_shown(value) for value in row] for row in rows)]
    widths = [max(len(row[place]) for row in cells) for place in range(len(columns))]
    print(f"\n{title}  ({os.cpu_count()} cores, Python {platform.python_version()})")
    for row in cells:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def print_result(result: Mapping[str, object]) -> None:
    """Print the figures as one JSON object, the last line."""
    print(json.dumps(result))


def _shown(value: object) -> str:
    return f"{value:,.2f}" if isinstance(value, float) else str(value)
