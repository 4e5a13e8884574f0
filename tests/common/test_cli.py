from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import entry_points
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from voice_command import Voice

from voice_common.cli import CommandGroup, at_work, common_options, main, patience, print_json, print_table, progress

SCRIPT = str(Path(sys.executable).with_name("voice"))


@click.group(cls=CommandGroup)
def things() -> None:
    """Do with things."""


@things.command("list")
@click.argument("name")
@common_options
def list_things(*, name: str, as_json: bool, data_dir: Path | None) -> None:
    """List things."""
    print_json({"name": name, "as_json": as_json, "data_dir": None if data_dir is None else str(data_dir)})


@things.command("show")
def show_things() -> None:
    """Show a thing that looks like markup."""
    print_table(["name"], [["[bold]acme[/nothing] :smile: " + "x" * 200]], empty="")


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


def test_a_cell_is_shown_as_it_is_and_unbroken_where_no_terminal_reads_it() -> None:
    ran = CliRunner().invoke(things, ["show"])
    assert "[bold]acme[/nothing] :smile: " + "x" * 200 in ran.output


@contextmanager
def in_terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], str]]:
    """Have standard error be a terminal (a fixture would not do: pytest sets it anew); give what tells all it shows."""
    ours, theirs = pty.openpty()
    os.set_blocking(ours, False)
    seen = b""

    def read() -> str:
        nonlocal seen
        with suppress(BlockingIOError):
            seen += os.read(ours, 1 << 16)
        return seen.decode()

    with os.fdopen(theirs, "w") as file:
        monkeypatch.setattr(sys, "stderr", file)
        monkeypatch.setenv("TERM", "xterm")
        yield read
    os.close(ours)


def wait_for(text: str, seen: Callable[[], str]) -> None:
    deadline = time.monotonic() + 5
    while text not in seen():
        assert time.monotonic() < deadline, seen()
        time.sleep(0.01)


def test_a_terminal_sees_that_a_command_is_at_work_until_a_bar_tells_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with in_terminal(monkeypatch) as seen:
        with patience("asking"):
            pass
        assert seen() == "", "what is quick says nothing"
        monkeypatch.setattr(at_work, "_AFTER_SECONDS", 0.01)
        with patience("asking"), patience("within"):
            wait_for("asking", seen)
            with progress() as shown:
                shown.add_task("sending", total=3)
                wait_for("sending", seen)
                told = seen().count("asking")
                with patience("beside a bar"):
                    time.sleep(0.3)  # a sign that goes on would be drawn again
                assert seen().count("asking") == told
        assert not {text for text in ("within", "beside a bar") if text in seen()}


def every_command() -> Iterator[tuple[str, click.Command]]:
    """Give all commands, and groups of commands, by what people type."""
    todo: list[tuple[str, click.Command]] = [
        (point.name, point.load()) for point in entry_points(group="voice.commands")
    ]
    while todo:
        words, command = todo.pop()
        yield words, command
        if isinstance(command, click.Group):
            todo += [(f"{words} {name}", each) for name, each in command.commands.items()]


COMMANDS = dict(every_command())


@pytest.mark.parametrize("words", sorted(COMMANDS))
def test_every_command_has_help_with_an_example(words: str) -> None:
    ran = CliRunner().invoke(main, [*words.split(), "--help"], prog_name="voice")
    assert ran.exit_code == 0, ran.output
    assert "\\b" not in ran.output
    example = rf'^ +Examples?:\n +(VOICE_\S+ |eval "\$\()?voice {words}'
    assert re.search(example, ran.output, re.MULTILINE), ran.output
    if not isinstance(COMMANDS[words], click.Group):
        assert "--json" in ran.output
        assert "--data-dir" in ran.output


def test_the_summaries_are_what_the_commands_say_of_themselves() -> None:
    summaries = {name: text for point in entry_points(group="voice.summaries") for name, text in point.load().items()}
    commands = {point.name: point.load() for point in entry_points(group="voice.commands")}
    assert summaries.keys() == commands.keys(), "a command without a summary is imported for the help of all"
    for name, command in commands.items():
        assert summaries[name] == " ".join((command.help or "").partition("\n\n")[0].split())


def test_help_imports_nothing_that_takes_long_and_tells_exit_codes() -> None:
    program = (
        "import sys\nfrom voice_common.cli import main\nmain(['--help'], prog_name='voice', standalone_mode=False)\n"
        "print(sorted({'aiohttp', 'asyncio', 'pydantic', 'pymongo', 'redis', 'rich'} & set(sys.modules)))"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout.splitlines()[-1] == "[]"
    assert "Exit codes: 0 done; 1 failed" in ran.stdout


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_the_shells_script(shell: str) -> None:
    ran = CliRunner().invoke(main, ["completion", shell])
    assert ran.exit_code == 0, ran.output
    assert f"_VOICE_COMPLETE={shell}_complete" in ran.output
    document = json.loads(CliRunner().invoke(main, ["completion", shell, "--json"]).stdout)
    assert (document["shell"], document["script"].strip()) == (shell, ran.stdout.strip())


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("voice te", ["telnyx", "tenant"][:1]),
        ("voice token ", ["issue", "list", "revoke"]),
        ("voice token issue acme --sc", ["--scope"]),
    ],
)
def test_a_shell_completes_commands_and_options(typed: str, offered: list[str]) -> None:
    words = typed.split(" ")
    asked = {"_VOICE_COMPLETE": "bash_complete", "COMP_WORDS": typed, "COMP_CWORD": str(len(words) - 1)}
    ran = subprocess.run([SCRIPT], capture_output=True, text=True, check=True, env={**os.environ, **asked})
    found = [line.partition(",")[2] for line in ran.stdout.splitlines()]
    assert set(offered) <= set(found), ran.stdout + ran.stderr


@pytest.mark.parametrize(
    ("environment", "words", "exit_code", "sentence"),
    [
        ({"VOICE_MONGO_DATABASE": ""}, ["tenant", "list"], 2, "VOICE_MONGO_DATABASE is wrong"),
        ({"VOICE_MONGO_URL": "postgres://user:secret@h/d"}, ["tenant", "list"], 2, "VOICE_MONGO_URL is wrong"),
        ({"VOICE_MONGO_URL": "mongodb://user:secret@h:x/"}, ["tenant", "list"], 2, "VOICE_MONGO_URL is wrong"),
        ({}, ["tenant", "list", "--data-dir", "/nowhere"], 1, "start it with: voice up --data-dir /nowhere"),
        ({}, ["events", "replay", "acme", "--since", "soon"], 2, "--since must be a date"),
        ({}, ["events", "replay", "acme", "--since", "2025-02-01", "--until", "2025-01-01"], 2, "--since must not be"),
        ({}, ["tenant", "creat"], 2, "No such command"),
        ({}, ["doctor", "--service", "nobody"], 2, "There is no service nobody"),
    ],
)
async def test_what_is_wrong_is_one_sentence_and_an_exit_code(
    environment: dict[str, str], words: list[str], exit_code: int, sentence: str
) -> None:
    said = await Voice(environment).refused(*words, exit_code=exit_code)
    assert sentence in said
    assert "secret" not in said


async def test_a_store_that_does_not_answer_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("voice_common.cli.store._STORE_SECONDS", 0.2)
    voice = Voice({"VOICE_MONGO_URL": "mongodb://127.0.0.1:1/?replicaSet=rs0"})
    said = await voice.refused("events", "quarantine")
    assert said.startswith("voice: MongoDB can't be used (")
    assert "is the stack running? Start it with: voice up" in said
    assert len(said.splitlines()) == 1


@pytest.mark.parametrize(("content", "sentence"), [("{", "is damaged"), (None, "No stack is running")])
async def test_a_data_dir_without_a_running_stack_says_how_to_start_one(
    tmp_path: Path, content: str | None, sentence: str
) -> None:
    if content is not None:
        (tmp_path / "stack.json").write_text(content)
    said = await Voice({}).refused("events", "quarantine", "--data-dir", str(tmp_path))
    assert sentence in said
    assert "voice up --data-dir" in said
