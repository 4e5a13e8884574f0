from __future__ import annotations

from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from voice_common.cli import CommandGroup, common_options, print_json


@click.group(cls=CommandGroup)
def things() -> None:
    """Do with things."""


@things.command("list")
@click.argument("name")
@common_options
def list_things(*, name: str, as_json: bool, data_dir: Path | None) -> None:
    """List things."""
    print_json({"name": name, "as_json": as_json, "data_dir": None if data_dir is None else str(data_dir)})


@pytest.mark.parametrize(
    "arguments",
    [
        ["list", "x", "--json", "--data-dir", "d"],
        ["list", "--json", "x", "--data-dir=d"],
        ["--json", "list", "--data-dir", "d", "x"],
        ["--data-dir", "d", "--json", "list", "x"],
        ["--data-dir=d", "list", "x", "--json"],
    ],
)
def test_common_options_stand_anywhere_after_a_commands_name(arguments: list[str]) -> None:
    ran = CliRunner().invoke(things, arguments)
    assert ran.exit_code == 0, ran.output
    assert '"as_json": true' in ran.output
    assert '"data_dir": "d"' in ran.output


def test_another_option_before_the_subcommand_is_refused() -> None:
    ran = CliRunner().invoke(things, ["--what", "list", "x"])
    assert ran.exit_code == 2
    assert "--what" in ran.output
