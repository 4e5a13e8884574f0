"""What the guides tell an operator to type and to look for is there: commands, options, images, metrics, log lines."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from importlib.metadata import entry_points

import click
import pytest
from manifests import IMAGES, deployments
from settings_table import ROOT

from voice_common.cli.admin import PASSWORD_VARIABLE

GUIDES = sorted([*(ROOT / "docs").glob("*.md"), ROOT / "README.md", ROOT / "SECURITY.md"])
TEXTS = [path.read_text() for path in GUIDES]
RUNBOOK = (ROOT / "docs/operations.md").read_text()
SOURCES = {
    path: path.read_text()
    for folder in ("libs", "services", "deploy/local")
    for path in sorted((ROOT / folder).glob("**/src/**/*.py"))
}
CODE = "\n".join(SOURCES.values())
VOICE = re.compile(r"^\s*(?:.*\s-- |\S*/)?voice ([a-z].*?)(?:\s+[>#].*)?$")
COMMANDS = {point.name: point for point in entry_points(group="voice.commands")}


def commands_in(text: str) -> Iterator[str]:
    """Give each ``voice …`` of a guide, in its text or in a block, without what a shell does with its output."""
    blocks = re.findall(r"```\w*\n(.*?)```", text, re.DOTALL)
    spans = re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
    for line in [line for block in blocks for line in block.splitlines()] + spans:
        for part in line.split("|"):
            found = VOICE.match(part)
            if found is not None:
                yield found[1].strip()


TYPED = sorted({(path.name, command) for path in GUIDES for command in commands_in(path.read_text())})


def resolved(words: list[str]) -> tuple[click.Command, list[str]]:
    """Give the command that some words name, and what is left of them."""
    assert words[0] in COMMANDS, f"there is no voice {words[0]}"
    command: click.Command = COMMANDS[words[0]].load()
    rest = words[1:]
    while isinstance(command, click.Group) and rest and not rest[0].startswith("-"):
        assert rest[0] in command.commands, f"{command.name} has no {rest[0]}"
        command, rest = command.commands[rest[0]], rest[1:]
    return command, rest


@pytest.mark.parametrize(("guide", "typed"), TYPED)
def test_a_command_of_a_guide_is_there_with_its_options(guide: str, typed: str) -> None:
    del guide
    command, rest = resolved(shlex.split(re.sub(r"[\[\]…]", " ", typed)))
    options = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
    assert {word.partition("=")[0] for word in rest if word.startswith("--")} <= options, f"voice {typed}"


def test_the_guides_name_commands() -> None:
    assert len(TYPED) > 30
    assert {guide for guide, _ in TYPED} >= {"README.md", "deploy.md", "operations.md", "tutorial.md"}


def test_a_command_in_a_pod_is_in_that_pods_image() -> None:
    found = re.findall(r"exec (?:-\w+ )*deployment/voice-(\$?\w+) -- voice (\w+)", "".join(TEXTS))
    assert found
    for image, command in found:
        # What the root brings, each image has.
        brought_by = COMMANDS[command].dist
        assert brought_by is not None
        package = brought_by.name.removeprefix("voice-")
        for name in IMAGES if image == "$name" else [image]:
            assert package in {"common", *IMAGES[name]}, f"voice {command} is not in the image {name}"


def test_the_workloads_that_the_runbook_names_are_deployed() -> None:
    there = {workload.name for workload in deployments("production")} | {"voice-operator"}
    named = set(re.findall(r"deployment/(voice-[a-z-]+[a-z])", RUNBOOK)) | set(
        re.findall(r"(?:logs of|restart|scale) `(voice-[a-z-]+)`", RUNBOOK)
    )
    assert named
    assert named <= there


def test_the_metrics_and_settings_that_the_guides_name_are_the_codes() -> None:
    everything = "".join(TEXTS)
    known = set(re.findall(r'"(voice_\w+)"', CODE))
    named = set(
        re.findall(r"\bvoice_(?:gateway|http|intake|mongo|projection|quarantine|rollup|webhooks)_\w+", everything)
    )
    assert named
    assert {name for name in named if name not in known} == set()
    variables = set(re.findall(r"\bVOICE_[A-Z_]*[A-Z]\b", everything))
    passwords = {variable for variable in variables if variable.startswith(PASSWORD_VARIABLE)}
    assert len(passwords) == 5
    fields = {name.upper() for name in re.findall(r"^    (\w+): ", CODE, re.MULTILINE)}
    assert {
        name for name in variables - passwords if name not in CODE and name.removeprefix("VOICE_") not in fields
    } == set()


def test_the_log_lines_that_the_runbook_names_are_written_by_the_service_that_it_names() -> None:
    entries = re.findall(r"[Ll]ogs of `voice-([a-z-]+)` for ((?:`[^`]+`(?:, | and | or )?)+)", RUNBOOK)
    assert len(entries) > 2
    for service, messages in entries:
        folder = ROOT / "services" / service.removesuffix("-worker")
        source = "".join(text for path, text in SOURCES.items() if path.is_relative_to(folder))
        for message in re.findall(r"`([^`]+)`", messages):
            assert f'"{message}' in source or f"class {message}" in source, f"{service} says no such thing: {message}"
