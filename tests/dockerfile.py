"""Reads a Dockerfile, and runs a stage of it in a plain directory: no container engine is needed."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

_MOUNT = re.compile(r"--mount=\S+\s+")
_REFERENCE = re.compile(r"\$\{?(\w+)\}?")


@dataclass(frozen=True, slots=True)
class Stage:
    """One FROM and what follows it: the base, the name ("" where it has none) and (instruction, argument) pairs."""

    base: str
    name: str
    instructions: tuple[tuple[str, str], ...]

    def arguments(self, instruction: str) -> list[str]:
        """Give what follows each `instruction` of this stage, in order."""
        return [argument for name, argument in self.instructions if name == instruction]

    def environment(self) -> dict[str, str]:
        """Give the variables that the stage's ENV lines set, as they are written."""
        return dict(pair.split("=", 1) for argument in self.arguments("ENV") for pair in argument.split())


def read_dockerfile(path: Path) -> tuple[dict[str, str], list[Stage]]:
    """Give the global ARGs with their defaults, and the stages."""
    text = re.sub(r"^\s*#.*\n", "", path.read_text(), flags=re.MULTILINE)
    lines = [line.strip() for line in re.sub(r"\\\n\s*", "", text).splitlines() if line.strip()]
    pairs = [(line.split(None, 1)[0].upper(), line.split(None, 1)[1]) for line in lines]
    first = next(index for index, (name, _) in enumerate(pairs) if name == "FROM")
    defaults = dict(argument.split("=", 1) for _, argument in pairs[:first])
    return defaults, list(_stages(pairs[first:]))


def _stages(pairs: list[tuple[str, str]]) -> Iterator[Stage]:
    starts = [index for index, (name, _) in enumerate(pairs) if name == "FROM"]
    for start, end in zip(starts, [*starts[1:], len(pairs)], strict=True):
        base, _, name = re.sub(r"\s+AS\s+", "|", pairs[start][1], flags=re.IGNORECASE).partition("|")
        yield Stage(base, name, tuple(pairs[start + 1 : end]))


def context_files(root: Path) -> list[Path]:
    """Give the files that .dockerignore lets into the build, relative to `root`: the last line that matches decides."""
    lines = [line for line in (root / ".dockerignore").read_text().splitlines() if line and line[0] != "#"]
    found = []
    for line in [line[1:] for line in lines if line[0] == "!"]:
        for path in sorted(root.glob(line)):
            found += [file for file in (path.rglob("*") if path.is_dir() else [path]) if file.is_file()]
    banned = [line.removeprefix("**/") for line in lines if line.startswith("**/")]
    relative = [file.relative_to(root) for file in found]
    return [file for file in relative if not any(fnmatch(part, name) for part in file.parts for name in banned)]


def run_stage(
    stage: Stage, context: Path, top: Path, arguments: Mapping[str, str], others: Mapping[str, Path] | None = None
) -> None:
    """Run a stage with `top` in the place of ``/``, and `others` in that of the stages that it copies from.

    Raises `AssertionError` with what a step printed where it fails.
    """
    directories = {path.split("/")[1] for path in stage.arguments("WORKDIR")} | {"app"}
    absolute = re.compile(rf"(?<![\w.$}}/*-])/(?=(?:{'|'.join(sorted(directories))})\b)")
    allowed = context_files(context)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("VOICE_", "PYTHON"))}
    environment["PATH"] = f"{_python_alone(top)}:/usr/local/bin:/usr/bin:/bin"
    environment.pop("VIRTUAL_ENV", None)
    where = top
    for name, written in stage.instructions:
        argument = absolute.sub(f"{top}/", written)
        if name == "COPY" and written.startswith("--from="):
            _, origin, source, target = re.split(r"[= ]", written)
            shutil.copytree((others or {})[origin] / source.lstrip("/"), where / target)
        elif name == "ARG":
            key, _, default = argument.partition("=")
            environment[key] = arguments.get(key, default)
        elif name == "ENV":
            for pair in argument.split():
                key, _, value = pair.partition("=")
                environment[key] = _REFERENCE.sub(lambda match: environment.get(match[1], ""), value)
        elif name == "WORKDIR":
            where = Path(argument)
            where.mkdir(parents=True, exist_ok=True)
        elif name == "COPY":
            _copy(argument, context, allowed, where)
        elif name == "RUN":
            command = _MOUNT.sub("", argument)
            step = subprocess.run(
                ["/bin/sh", "-c", command], cwd=where, env=environment, capture_output=True, text=True, check=False
            )
            assert step.returncode == 0, f"{command}\n{step.stdout}{step.stderr}"
        else:
            raise AssertionError(f"No test runs {name}")


def _python_alone(top: Path) -> Path:
    """Give a folder with a ``python`` that has pip, as the base image's has, and nothing else of this environment."""
    folder = top / "base"
    folder.mkdir()
    python = folder / "python"
    python.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$@"\n')
    python.chmod(0o755)
    return folder


def _copy(argument: str, context: Path, allowed: list[Path], where: Path) -> None:
    *sources, target = argument.split()
    for source in sources:
        files = [file for file in allowed if file.is_relative_to(source)]
        assert files, f"COPY {source}: .dockerignore lets nothing of it in"
        for file in files:
            to_folder = target.endswith("/") and (context / source).is_file()
            to = where / target / (file.name if to_folder else file.relative_to(source))
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(context / file, to)
