"""The ``voice`` command: each package contributes its subcommands through the entry point ``voice.commands``."""

from __future__ import annotations

import asyncio
import functools
import json
import os
import sys
from collections.abc import Awaitable, Callable
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, TypeVar, cast

import click
import orjson
from pymongo.errors import PyMongoError
from rich.console import Console
from rich.table import Table

from voice_common.mongo import Database, connect
from voice_common.settings import SettingsError, StoreSettings, load

DATA_DIR_VARIABLE = "VOICE_DATA_DIR"
T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])


class CommandError(click.ClickException):
    """A command can't do what it was asked; one sentence says why and what to do next."""

    exit_code = 1

    def show(self, file: Any = None) -> None:  # noqa: ANN401 - click's own signature
        """Print the sentence on standard error."""
        click.echo(f"voice: {self.format_message()}", err=True, file=file)


class Voice(click.Group):
    """The root command: loads a package's subcommands when they are asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Name the subcommands of all installed packages."""
        return sorted({*super().list_commands(ctx), *(point.name for point in _points())})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Load one subcommand."""
        for point in _points():
            if point.name == cmd_name:
                command: click.Command = point.load()
                return command
        return super().get_command(ctx, cmd_name)


class CommandGroup(click.Group):
    """A group whose common options may also stand between its name and its subcommand's."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Hand common options that come before the subcommand on to it."""
        ahead: list[str] = []
        rest = list(args)
        while rest and (rest[0] == "--json" or rest[0].partition("=")[0] == "--data-dir"):
            ahead.append(rest.pop(0))
            if ahead[-1] == "--data-dir" and rest:
                ahead.append(rest.pop(0))
        return super().parse_args(ctx, rest[:1] + ahead + rest[1:] if rest else ahead)


def _points() -> list[Any]:
    return list(entry_points(group="voice.commands"))


@click.group(cls=Voice, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="voice-common", prog_name="voice")
def main() -> None:
    """Run and operate the Voice System."""


def common_options(function: F) -> F:
    """Add ``--json`` and ``--data-dir`` to a command; they may stand anywhere after its name.

    Also turns the failures of settings and store into one sentence. The command gets ``as_json: bool`` and
    ``data_dir: Path | None``.
    """

    @functools.wraps(function)
    def checked(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - passes through whatever the command takes
        try:
            return function(*args, **kwargs)
        except SettingsError as error:
            raise CommandError(str(error)) from error
        except PyMongoError as error:
            message = f"MongoDB can't be used ({type(error).__name__}); is the stack running? Start it with: voice up"
            raise CommandError(message) from error

    with_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")(checked)
    with_both = click.option(
        "--data-dir",
        type=click.Path(path_type=Path),
        envvar=DATA_DIR_VARIABLE,
        help=f"Data directory of a running local stack (or {DATA_DIR_VARIABLE}); without it VOICE_MONGO_URL is used.",
    )(with_json)
    return cast("F", with_both)


def read_stack(data_dir: Path) -> dict[str, Any]:
    """Give the ``stack.json`` of a running local stack; raise `CommandError` where none runs."""
    try:
        stack: dict[str, Any] = json.loads((data_dir / "stack.json").read_text())
    except FileNotFoundError:
        message = f"No stack is running on {data_dir}; start it with: voice up --data-dir {data_dir}"
        raise CommandError(message) from None
    return stack


def mongo_url_of(data_dir: Path | None) -> str:
    """Give the URL of the store that a command works on: a local stack's, else ``VOICE_MONGO_URL``."""
    if data_dir is not None:
        return str(read_stack(data_dir)["mongo_url"])
    if "VOICE_MONGO_URL" not in os.environ and Path(".voice/stack.json").is_file():
        return str(read_stack(Path(".voice"))["mongo_url"])
    return load(StoreSettings).mongo_url


def with_store(data_dir: Path | None, work: Callable[[Database], Awaitable[T]]) -> T:
    """Run `work` with the store that ``--data-dir`` or the settings name."""

    async def run() -> T:
        client = connect(mongo_url_of(data_dir), timeout_seconds=10)
        try:
            return await work(client[load(StoreSettings).mongo_database])
        finally:
            await client.close()

    return asyncio.run(run())


def print_json(document: object) -> None:
    """Print one JSON document on standard output."""
    click.echo(orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS).decode())


def print_table(columns: list[str], rows: list[list[str]], *, empty: str) -> None:
    """Print a table, or the sentence `empty` where there are no rows."""
    if not rows:
        click.echo(empty)
        return
    table = Table(*columns)
    for row in rows:
        table.add_row(*row)
    Console(file=sys.stdout).print(table)
