"""What all subcommands have in common: ``--json``, ``--data-dir``, and failures that are one sentence."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import click

from voice_common.errors import BadRequest

DATA_DIR_VARIABLE = "VOICE_DATA_DIR"
F = TypeVar("F", bound=Callable[..., Any])


class CommandError(click.ClickException):
    """A command can't do what it was asked; one sentence says why and what to do next."""

    exit_code = 1

    def show(self, file: Any = None) -> None:  # noqa: ANN401 - click's own signature
        """Print the sentence on standard error."""
        click.echo(f"voice: {self.format_message()}", err=True, file=file)


class WrongUsageError(CommandError):
    """A command, or a setting that it reads, is not as it should be; one sentence says which."""

    exit_code = 2


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


def common_options(function: F) -> F:
    """Add ``--json`` and ``--data-dir`` to a command; they may stand anywhere after its name.

    Also turns the failures of settings, dates and the store into one sentence. The command gets ``as_json: bool``
    and ``data_dir: Path | None``.
    """

    @functools.wraps(function)
    def checked(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - passes through whatever the command takes
        try:
            return function(*args, **kwargs)
        except (click.ClickException, click.Abort, click.exceptions.Exit):
            raise
        except Exception as error:
            told = _told(error)
            if told is None:
                raise
            raise told from error

    with_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")(checked)
    with_both = click.option(
        "--data-dir",
        type=click.Path(path_type=Path),
        envvar=DATA_DIR_VARIABLE,
        help=f"Data directory of a running local stack (or {DATA_DIR_VARIABLE}); without it VOICE_MONGO_URL is used.",
    )(with_json)
    return cast("F", with_both)


def _told(error: Exception) -> CommandError | None:
    """Give the sentence for a failure that people can do something about; ``None`` for a fault of this program."""
    from pymongo.errors import ConfigurationError, OperationFailure, PyMongoError  # noqa: PLC0415 - see the package

    from voice_common.settings import SettingsError  # noqa: PLC0415 - see the package

    if isinstance(error, SettingsError):
        return WrongUsageError(f"{error}; set it in the environment, or name a running local stack with --data-dir")
    if isinstance(error, BadRequest):
        return WrongUsageError(error.message)
    if isinstance(error, ConfigurationError):
        return WrongUsageError(
            "VOICE_MONGO_URL can't be used as it is; it looks like mongodb://HOST:27017/?replicaSet=rs0"
        )
    if isinstance(error, OperationFailure) and not error.timeout:
        reason = (error.details or {}).get("codeName", type(error).__name__)
        return CommandError(f"MongoDB refused the operation ({reason}); see what is wrong with: voice doctor")
    if isinstance(error, PyMongoError):
        return CommandError(
            f"MongoDB can't be used ({type(error).__name__}); is the stack running? Start it with: voice up, "
            "or see what is wrong with: voice doctor"
        )
    return None
