"""Write ``requirements.lock`` from what all packages declare, or check that it is current.

Run by ``make lock`` and ``make check``. The check needs no network: the lock's first line holds a digest of what
was declared and of the lock itself, so a changed pyproject.toml, a hand edit and a bad merge are all seen.

``--extract FOLDER…`` prints the part of the lock that the packages in these folders need: an image installs that,
with the lock's own versions and hashes.
"""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "requirements.lock"
PACKAGES = ("libs/*/pyproject.toml", "services/*/pyproject.toml", "deploy/*/pyproject.toml")
PYTHON = "3.11"


def declared() -> str:
    """Give every requirement of every package, build back end and dependency group, without our own packages."""
    projects = [_read(path) for pattern in PACKAGES for path in sorted(ROOT.glob(pattern))]
    own = {project["project"]["name"] for project in projects}
    found = {need for group in _read(ROOT / "pyproject.toml")["dependency-groups"].values() for need in group}
    for project in projects:
        found.update(project["build-system"]["requires"])
        found.update(need for need in project["project"]["dependencies"] if need not in own)
    return "".join(f"{need}\n" for need in sorted(found))


def compile_lock(requirements: str) -> str:
    """Resolve `requirements` for every platform; versions of the present lock stay where they still fit."""
    command = [
        "uv", "pip", "compile", "-", "--universal", "--generate-hashes", "--python-version", PYTHON, "--no-header",
        "--no-annotate", "--no-emit-index-url", "--no-emit-find-links", "--quiet", "--output-file", str(LOCK),
        *sys.argv[1:],
    ]  # fmt: skip
    subprocess.run(command, input=requirements, text=True, check=True, stdout=subprocess.DEVNULL)  # noqa: S603 - uv, and what the caller of make lock adds
    return LOCK.read_text()


def first_line(requirements: str, body: str) -> str:
    """Give the line that ties a lock to what it was made from."""
    digest = hashlib.sha256(f"{PYTHON}\n{requirements}\n{body}".encode()).hexdigest()
    return f"# Written by make lock; do not edit. sha256:{digest}\n"


def extract(folders: list[str]) -> str:
    """Give the entries of the lock, hashes and all, that the packages in `folders` need, directly or in turn.

    The packages themselves are left out: a package of that name elsewhere must never take the place of ours.
    """
    projects = [_read(ROOT / folder / "pyproject.toml")["project"] for folder in folders]
    own = {project["name"] for project in projects}
    needs = "".join(f"{need}\n" for project in projects for need in project["dependencies"] if need not in own)
    command = [
        "uv", "pip", "compile", "-", "--constraints", str(LOCK), "--python-version", PYTHON, "--no-header",
        "--no-annotate", "--universal", "--quiet",
    ]  # fmt: skip
    resolved = subprocess.run(command, input=needs, text=True, check=True, stdout=subprocess.PIPE).stdout  # noqa: S603 - uv with our own lock
    names = {line.partition("==")[0] for line in resolved.splitlines()}
    entries = re.split(r"\n(?=\S)", LOCK.read_text().rstrip())[1:]
    return "".join(f"{entry}\n" for entry in entries if entry.partition("==")[0] in names)


def main() -> None:
    """Write the lock, or with ``--check`` exit with a sentence where it is not current, or print a part of it."""
    if sys.argv[1:2] == ["--extract"]:
        sys.stdout.write(extract(sys.argv[2:]))
        return
    if sys.argv[1:] != ["--check"]:
        requirements = declared()
        body = compile_lock(requirements)
        LOCK.write_text(first_line(requirements, body) + body)
        return
    line, _, body = LOCK.read_text().partition("\n")
    if f"{line}\n" != first_line(declared(), body):
        sys.exit("requirements.lock is not what the packages' pyproject.toml declare; run: make lock")


def _read(path: Path) -> dict[str, Any]:
    return tomllib.loads(path.read_text())


if __name__ == "__main__":
    main()
