"""What commands print: a JSON document or a table on standard output, progress on standard error."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from voice_common.cli.at_work import instead_of_patience

if TYPE_CHECKING:
    from rich.progress import Progress

_UNBROKEN = 1000


def print_json(document: object) -> None:
    """Print one JSON document on standard output."""
    import orjson  # noqa: PLC0415 - see the package

    click.echo(orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS).decode())


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, empty: str) -> None:
    """Print a table, or the sentence `empty` where there are no rows.

    Cells are shown as they are, whatever they look like to rich. Where no terminal reads it, no row is broken.
    """
    from rich.console import Console  # noqa: PLC0415 - see the package
    from rich.table import Table  # noqa: PLC0415 - see the package

    if not rows:
        click.echo(empty)
        return
    table = Table(*columns)
    for row in rows:
        table.add_row(*row)
    width = None if sys.stdout.isatty() else _UNBROKEN
    Console(file=sys.stdout, width=width, markup=False, emoji=False, highlight=False).print(table)


@contextmanager
def progress(*, in_bytes: bool = False) -> Iterator[Progress]:
    """Show progress bars on standard error, for what can take longer than a second."""
    from rich import progress as bars  # noqa: PLC0415 - see the package
    from rich.console import Console  # noqa: PLC0415 - see the package

    shown = bars.Progress(
        bars.TextColumn("{task.description}"),
        bars.BarColumn(),
        bars.DownloadColumn() if in_bytes else bars.MofNCompleteColumn(),
        bars.TimeElapsedColumn(),
        bars.TimeRemainingColumn(),
        console=Console(stderr=True),
    )
    with instead_of_patience(), shown:
        yield shown
