"""What the repository promises about itself: its papers, its packages and its tools agree with the code."""

from __future__ import annotations

import ast
import gc
import os
import re
import runpy
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from fnmatch import fnmatch
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest
from settings_table import ROOT, settings_classes, settings_table, table_in_readme

PROJECTS = {
    tomllib.loads(path.read_text())["project"]["name"]: path.parent
    for pattern in ("libs/*/pyproject.toml", "services/*/pyproject.toml", "deploy/*/pyproject.toml")
    for path in sorted(ROOT.glob(pattern))
}
SERVICES = sorted(path.name for path in (ROOT / "services").iterdir() if path.is_dir())
# In pieces, so that this file does not name what it looks for.
REGISTRY_HOSTS = ("pypi" + ".org", "python" + "hosted", "registry." + "npmjs", "deb." + "debian", "crates" + ".io")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def files_of_the_repository() -> list[Path]:
    """Give all files but those in folders that .gitignore names; git itself may be missing where tests run."""
    ignored = [".git", *(line.rstrip("/") for line in (ROOT / ".gitignore").read_text().splitlines() if line)]
    found = []
    for folder, folders, names in os.walk(ROOT):
        folders[:] = [name for name in folders if not any(fnmatch(name, pattern) for pattern in ignored)]
        found += [Path(folder, name) for name in names if not any(fnmatch(name, pattern) for pattern in ignored)]
    return found


def normal(requirement: str) -> str:
    matched = NAME.match(requirement)
    assert matched, requirement
    return re.sub(r"[-_.]+", "-", matched[0]).lower()


def project_of(folder: Path) -> dict[str, Any]:
    project: dict[str, Any] = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    return project


def declared_by(name: str) -> set[str]:
    """Give the distributions that a package declares, by itself or by a package of this repository that it needs."""
    direct = {normal(need) for need in project_of(PROJECTS[name]).get("dependencies", [])}
    return {name} | direct.union(*(declared_by(need) for need in direct if need in PROJECTS))


def parsed(path: Path) -> ast.Module:
    gc.disable()  # else Python 3.11 breaks off where a collection amid this formats a traceback (its issue 106905)
    try:
        return ast.parse(path.read_text())
    finally:
        gc.enable()


def imports_of(folder: Path) -> Iterator[tuple[Path, str]]:
    """Give each top-level module that the code under `folder` imports."""
    for path in sorted((folder / "src").rglob("*.py")):
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.Import):
                yield from ((path, alias.name.partition(".")[0]) for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                yield path, node.module.partition(".")[0]


def test_no_file_names_a_package_registrys_host() -> None:
    naming = [
        (str(path.relative_to(ROOT)), host)
        for path in files_of_the_repository()
        for host in REGISTRY_HOSTS
        if host.encode() in path.read_bytes()
    ]
    assert naming == []


def test_every_package_folder_has_a_line_of_owners() -> None:
    lines = [line.split() for line in (ROOT / "CODEOWNERS").read_text().splitlines() if line and line[0] != "#"]
    owned = {pattern: owners for pattern, *owners in lines}
    folders = {f"/{folder.relative_to(ROOT)}/" for folder in PROJECTS.values()}
    folders |= {f"/tests/{path.name}/" for path in (ROOT / "tests").iterdir() if path.name in SERVICES}
    assert folders - owned.keys() == set()
    assert [pattern for pattern, owners in owned.items() if not owners] == []
    assert [pattern for pattern in owned if pattern != "*" and not (ROOT / pattern.strip("/")).exists()] == []


@pytest.mark.parametrize("name", PROJECTS)
def test_a_package_declares_what_it_imports(name: str) -> None:
    distributions = packages_distributions()
    declared = declared_by(name)
    undeclared = {
        f"{path.relative_to(ROOT)}: {module}"
        for path, module in imports_of(PROJECTS[name])
        if module not in sys.stdlib_module_names
        and not declared & {normal(distribution) for distribution in distributions.get(module, [module])}
    }
    assert undeclared == set()


def test_the_import_contracts_name_every_service() -> None:
    tools = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]
    services = {f"voice_{service}" for service in SERVICES}
    contracts = {contract["name"]: contract for contract in tools["importlinter"]["contracts"]}
    assert set(tools["importlinter"]["root_packages"]) == {name.replace("-", "_") for name in PROJECTS}
    assert set(contracts["Services do not import each other"]["modules"]) == services
    assert set(contracts["Common imports no service"]["forbidden_modules"]) == services | {"voice_local"}
    assert set(contracts["No service imports the local stack"]["source_modules"]) == services
    typed = set(tools["mypy"]["mypy_path"])
    assert {f"{folder.relative_to(ROOT)}/src" for folder in PROJECTS.values()} <= typed


def test_the_makefile_installs_every_package() -> None:
    packages = re.search(r"^PACKAGES := (.+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert packages
    assert {ROOT / folder for folder in packages[1].split()} == set(PROJECTS.values())


def test_make_help_tells_of_every_target() -> None:
    makefile = (ROOT / "Makefile").read_text()
    phony = re.search(r"^\.PHONY: (.+)$", makefile, re.MULTILINE)
    assert phony
    assert set(re.findall(r"^([a-z-]+):.*## ", makefile, re.MULTILINE)) == set(phony[1].split())


def test_the_readmes_table_is_that_of_the_settings_classes() -> None:
    assert table_in_readme() == settings_table(), "run: make settings"


def test_every_setting_says_what_it_means() -> None:
    silent = [
        f"{service}: {name}"
        for service, model in settings_classes()
        for name, field in model.model_fields.items()
        if not field.description
    ]
    assert silent == []
    assert {service for service, _ in settings_classes()} == set(SERVICES)


def test_the_papers_name_every_variable_that_the_code_names() -> None:
    papers = "".join((ROOT / name).read_text() for name in ("README.md", "CONTRIBUTING.md"))
    named = {
        variable
        for folder in PROJECTS.values()
        for path in (folder / "src").rglob("*.py")
        for variable in re.findall(r"\bVOICE_[A-Z0-9_]*[A-Z0-9]\b(?!_)", path.read_text())
    }
    assert {variable for variable in named if variable not in papers} == set()


def test_links_between_the_papers_lead_somewhere() -> None:
    papers = [path for path in files_of_the_repository() if path.suffix == ".md"]
    broken = [
        f"{path.relative_to(ROOT)}: {target}"
        for path in papers
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", path.read_text())
        if "://" not in target and not (path.parent / target).exists()
    ]
    assert broken == []


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """Give a copy of what the lock is made from, with a lock that is current."""
    declaring = [ROOT / "pyproject.toml", *(folder / "pyproject.toml" for folder in PROJECTS.values())]
    for path in [ROOT / ".ci" / "lock.py", *declaring]:
        target = tmp_path / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    lock = runpy.run_path(str(tmp_path / ".ci" / "lock.py"))
    body = "aiohttp==3.14.3 \\\n    --hash=sha256:00\n"
    (tmp_path / "requirements.lock").write_text(lock["first_line"](lock["declared"](), body) + body)
    return tmp_path


def lock_is_current(root: Path) -> bool:
    checked = subprocess.run([sys.executable, root / ".ci" / "lock.py", "--check"], capture_output=True, check=False)
    return checked.returncode == 0


def test_a_current_lock_passes_the_check(copy: Path) -> None:
    assert lock_is_current(copy)


@pytest.mark.parametrize("changed", ["pyproject.toml", "services/webhooks/pyproject.toml", "requirements.lock"])
def test_a_changed_dependency_or_an_edited_lock_fails_the_check(copy: Path, changed: str) -> None:
    before = (copy / changed).read_text()
    after = re.sub(r"(vadersentiment>=|ruff>=|aiohttp==)[\d.]+", r"\g<1>9", before)
    assert after != before
    (copy / changed).write_text(after)
    assert not lock_is_current(copy)


def test_the_lock_has_a_hash_for_everything_and_no_package_of_ours() -> None:
    entries = re.split(r"\n(?=\S)", (ROOT / "requirements.lock").read_text())[1:]
    assert [entry for entry in entries if "--hash=sha256:" not in entry] == []
    assert {entry.partition("==")[0] for entry in entries} & PROJECTS.keys() == set()
