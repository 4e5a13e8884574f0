"""The root of the command: it finds subcommands by entry points, and loads one only when it is to run."""

from __future__ import annotations

from functools import cache
from importlib.metadata import EntryPoint, entry_points

import click

_EPILOG = """\b
Examples:
  voice up                                    the whole system on this machine
  voice tenant create acme --connection-id C  a customer, and the Telnyx connection that is theirs
  voice token issue acme                      a token for the API
  voice doctor                                what is wrong, and what to do

\b
Exit codes: 0 done; 1 failed, one sentence says why; 2 wrong usage or a wrong setting.
Every command takes --json, and --data-dir of a running local stack.
Completion: eval "$(voice completion bash)"; also for zsh and fish.
"""


class _Summary(click.Command):
    """What is said of a command that is not loaded."""


class Voice(click.Group):
    """Loads a package's subcommand when it is to run; the list of them needs no more than their summaries."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Name the subcommands of all installed packages."""
        return sorted({*super().list_commands(ctx), *_commands()})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Give a subcommand, only its summary where there is one."""
        if cmd_name not in _commands():
            return super().get_command(ctx, cmd_name)
        summary = _summaries().get(cmd_name)
        return self._load(cmd_name) if summary is None else _Summary(cmd_name, short_help=summary)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Give the subcommand that is to run, loaded."""
        name, command, rest = super().resolve_command(ctx, args)
        return name, self._load(name) if name is not None and isinstance(command, _Summary) else command, rest

    @staticmethod
    def _load(name: str) -> click.Command:
        command: click.Command = _commands()[name].load()
        return command


@cache
def _commands() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group="voice.commands")}


@cache
def _summaries() -> dict[str, str]:
    return {name: text for point in entry_points(group="voice.summaries") for name, text in point.load().items()}


@click.group(
    cls=Voice,
    epilog=_EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(package_name="voice-common", prog_name="voice")
def main() -> None:
    """Run and operate the Voice System."""
