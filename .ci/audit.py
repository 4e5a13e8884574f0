"""Audit what the system is made of; run by ``make audit``.

Without any network: each installed distribution is the locked one, its files are those that it was published with, and
nothing else is there. With a package index: no locked release was withdrawn. With a source of advisories: none is known
for a locked release. A source is believed only once it knows of a weakness that is well known: a mirror that has no
advisories at all would else look like a clean bill of health. What could not be checked is said.

Exits with 1 where something was found.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib.metadata import Distribution, PackagePath, distributions
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "requirements.lock"
BIN = ROOT / ".venv" / "bin"
PIP_AUDIT = ROOT / ".venv" / "audit" / "bin" / "pip-audit"
CONSOLE = ROOT / "services" / "gateway" / "console"
WEAK_PYTHON = ("aiohttp", "3.8.0")
WEAK_NPM = ("lodash", "4.17.4")
INSTALLER = frozenset({"pip"})
"""What makes an environment brings along, and no lock names."""

_SECONDS = 300
_ENDED = "Development Status :: 7 - Inactive"


@dataclass
class Report:
    """What was looked at, what could not be, and what was found."""

    checked: list[str] = field(default_factory=list)
    unchecked: list[str] = field(default_factory=list)
    found: list[str] = field(default_factory=list)


def normal(name: str) -> str:
    """Give a distribution's name as PEP 503 has it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def locked_in(lock: str) -> dict[str, str]:
    """Give the versions by name that a lock has for this platform."""
    needs = [Requirement(line.removesuffix("\\")) for line in lock.splitlines() if re.match(r"[A-Za-z0-9]", line)]
    return {
        normal(need.name): str(need.specifier).removeprefix("==")
        for need in needs
        if need.marker is None or need.marker.evaluate()
    }


def check_installed(report: Report, installed: Sequence[Distribution], locked: dict[str, str], own: set[str]) -> None:
    """Compare what is installed with the lock, and its files with their own records."""
    versions = {normal(one.name): one.version for one in installed}
    for name in sorted(locked.keys() - versions.keys()):
        report.found.append(f"{name} {locked[name]} is locked and not installed")
    for name in sorted(versions.keys() - locked.keys() - own - INSTALLER):
        report.found.append(f"{name} {versions[name]} is installed and not locked")
    for name in sorted(versions.keys() & locked.keys()):
        if versions[name] != locked[name]:
            report.found.append(f"{name} {versions[name]} is installed, and {locked[name]} is locked")
    files = 0
    for one in installed:
        recorded = [file for file in one.files or [] if file.hash is not None]
        files += len(recorded)
        if not recorded:
            report.found.append(f"{one.name} {one.version} has no record of its files")
        report.found += (f"{one.name} {one.version}: {file} {wrong}" for file, wrong in changed_files(recorded))
        if _ENDED in one.metadata.get_all("Classifier", []) and normal(one.name) not in own:
            report.found.append(f"{one.name} {one.version} says that its development has ended")
    report.checked.append(f"{len(versions)} installed distributions against the lock, {files} files by their SHA-256")


def changed_files(recorded: Iterable[PackagePath]) -> Iterator[tuple[PackagePath, str]]:
    """Give the files that are not what the record says, each with what is wrong."""
    for file in recorded:
        assert file.hash is not None  # noqa: S101 - the caller's choice
        path = Path(str(file.locate()))
        if not path.is_file():
            yield file, "is missing"
            continue
        with path.open("rb") as content:
            digest = hashlib.file_digest(content, file.hash.mode).digest()
        if base64.urlsafe_b64encode(digest).rstrip(b"=").decode() != file.hash.value:
            yield file, "was changed after it was installed"


def check_start_files(report: Report, folder: Path, installed: Sequence[Distribution]) -> None:
    """Look for files that Python runs whenever it starts, and that belong to no distribution."""
    owned = {Path(str(file.locate())).resolve() for one in installed for file in one.files or []}
    starting = [path for path in sorted(folder.iterdir()) if path.suffix == ".pth" or path.stem.endswith("customize")]
    report.found += (f"{path.name} runs at each start and is no package's" for path in starting if path not in owned)
    report.checked.append(f"{len(starting)} files that run at each start")


def check_withdrawn(report: Report) -> None:
    """Ask the package index, by uv, for locked releases that were withdrawn (yanked)."""
    command = [str(BIN / "uv"), "pip", "install", "--dry-run", "--no-deps", "--require-hashes", "-r", str(LOCK)]
    with tempfile.TemporaryDirectory() as nowhere:
        ended = run([*command, "--target", nowhere])
    if ended.returncode:
        report.unchecked.append(f"withdrawn releases: the index can't be asked ({last_line(ended.stderr)})")
        return
    report.found += re.findall(r"`[^`]+` is yanked.*", ended.stderr)
    report.checked.append("the lock against the index for withdrawn releases")


def check_python_advisories(report: Report) -> None:
    """Ask pip-audit for advisories of what is locked."""
    what = "advisories of Python packages"
    with tempfile.TemporaryDirectory() as folder:
        weak = Path(folder) / "weak.txt"
        weak.write_text("==".join(WEAK_PYTHON))
        known = weaknesses(run([*pip_audit(), "--no-deps", "-r", str(weak)]).stdout)
    if not known:
        report.unchecked.append(f"{what}: no source can be reached that knows of {' '.join(WEAK_PYTHON)}'s weaknesses")
        return
    told = weaknesses(run([*pip_audit(), "--require-hashes", "-r", str(LOCK)]).stdout)
    if told is None:
        report.unchecked.append(f"{what}: the source broke off")
        return
    report.found += told
    report.checked.append(what)


def pip_audit() -> list[str]:
    """Give the command that needs no resolver and answers in JSON."""
    return [str(PIP_AUDIT), "--disable-pip", "--format", "json", "--progress-spinner", "off"]


def weaknesses(answer: str) -> list[str] | None:
    """Read pip-audit's JSON; ``None`` where there is none, or a release that it could not look up."""
    try:
        entries = json.loads(answer)["dependencies"]
    except (ValueError, KeyError):
        return None
    if any("skip_reason" in entry for entry in entries):
        return None
    return [f"{one['name']} {one['version']}: {weakness['id']}" for one in entries for weakness in one["vulns"]]


def check_npm_advisories(report: Report, console: Path) -> None:
    """Ask npm for advisories of what the console's lock has."""
    what = "advisories of the console's packages"
    name, version = WEAK_NPM
    with tempfile.TemporaryDirectory() as folder:
        packages = {"": {"dependencies": {name: version}}, f"node_modules/{name}": {"version": version}}
        (Path(folder) / "package.json").write_text(json.dumps({"name": "weak", "dependencies": {name: version}}))
        lock = {"name": "weak", "lockfileVersion": 3, "packages": packages}
        (Path(folder) / "package-lock.json").write_text(json.dumps(lock))
        known = npm_weaknesses(npm_audit(Path(folder)))
    if not known:
        report.unchecked.append(f"{what}: no source can be reached that knows of {name} {version}'s weaknesses")
        return
    told = npm_weaknesses(npm_audit(console))
    if told is None:
        report.unchecked.append(f"{what}: the source broke off")
        return
    report.found += told
    report.checked.append(what)


def npm_audit(folder: Path) -> str:
    """Give what npm says in JSON of the lock in a folder."""
    return run([str(BIN / "npm"), "audit", "--package-lock-only", "--json", "--prefix", str(folder)]).stdout


def npm_weaknesses(answer: str) -> list[str] | None:
    """Read npm's JSON; ``None`` where it holds no audit."""
    try:
        weak: dict[str, Any] = json.loads(answer)["vulnerabilities"]
    except (ValueError, KeyError):
        return None
    return [f"{name} ({one['severity']}), of the console's lock" for name, one in weak.items()]


def check_npm_lock(report: Report, console: Path) -> None:
    """Look whether all of the console's packages are pinned by a digest, and installed as they are locked."""
    locked = packages_in(console / "package-lock.json")
    bare = [name for name, one in locked.items() if name and not one.get("integrity", "").startswith("sha512-")]
    report.found += (f"{name} has no SHA-512 in the console's lock" for name in bare)
    hidden = console / "node_modules" / ".package-lock.json"
    if hidden.is_file():
        for name, one in packages_in(hidden).items():
            if one.get("integrity") != locked.get(name, {}).get("integrity"):
                report.found.append(f"{name} is installed for the console otherwise than it is locked")
    report.checked.append(f"{len(locked) - 1} packages of the console's lock, each by a SHA-512")


def packages_in(lock: Path) -> dict[str, dict[str, Any]]:
    """Give the packages of an npm lock by their place."""
    packages: dict[str, dict[str, Any]] = json.loads(lock.read_text())["packages"]
    return packages


def run(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Run a tool to its end; one that is not there has failed."""
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=_SECONDS)  # noqa: S603 - our own tools
    except (OSError, subprocess.TimeoutExpired) as error:
        return subprocess.CompletedProcess(command, 127, "", str(error))


def last_line(text: str) -> str:
    """Give the last line of what a tool said."""
    return (text.strip().splitlines() or ["it said nothing"])[-1].strip()


def own_packages() -> set[str]:
    """Give the names of this repository's packages."""
    projects = [path for folder in ("libs", "services", "deploy") for path in ROOT.glob(f"{folder}/*/pyproject.toml")]
    return {normal(tomllib.loads(path.read_text())["project"]["name"]) for path in projects}


def main() -> None:
    """Check everything, and say what was checked, what was not, and what was found."""
    report = Report()
    installed = list(distributions())
    check_installed(report, installed, locked_in(LOCK.read_text()), own_packages())
    check_start_files(report, Path(sys.prefix).resolve() / "lib" / _python() / "site-packages", installed)
    check_npm_lock(report, CONSOLE)
    check_withdrawn(report)
    check_python_advisories(report)
    check_npm_advisories(report, CONSOLE)
    for label, lines in (("checked", report.checked), ("NOT CHECKED", report.unchecked), ("FOUND", report.found)):
        sys.stdout.writelines(f"{label}: {line}\n" for line in lines)
    if report.unchecked:
        sys.stdout.write("Part of the audit needs sources that can't be reached from here; run it where they can be.\n")
    sys.exit(1 if report.found else 0)


def _python() -> str:
    return f"python{sys.version_info.major}.{sys.version_info.minor}"


if __name__ == "__main__":
    main()
