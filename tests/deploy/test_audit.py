"""``make audit`` finds what is not as it is locked or recorded, and believes no source that knows nothing."""

from __future__ import annotations

import base64
import hashlib
import json
import runpy
import subprocess
from collections.abc import Callable, Sequence
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any

import pytest
from settings_table import ROOT

LOCKED = {"sound": "1.0", "changed": "1.0", "gone": "1.0", "other": "2.0", "ended": "1.0", "absent": "1.0"}


@pytest.fixture
def audit() -> dict[str, Any]:
    return runpy.run_path(str(ROOT / ".ci" / "audit.py"))


def install(folder: Path, name: str, version: str = "1.0", classifier: str = "") -> Path:
    """Make an installed distribution of one module; give the module."""
    module, info = folder / f"{name}.py", folder / f"{name}-{version}.dist-info"
    module.write_text("A = 1\n")
    info.mkdir(parents=True)
    more = f"Classifier: {classifier}\n" if classifier else ""
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{more}\n")
    digest = base64.urlsafe_b64encode(hashlib.sha256(module.read_bytes()).digest()).rstrip(b"=").decode()
    (info / "RECORD").write_text(f"{module.name},sha256={digest},6\n{info.name}/RECORD,,\n")
    return module


def installed_in(folder: Path) -> list[Distribution]:
    return list(distributions(path=[str(folder)]))


def test_what_is_installed_otherwise_than_it_was_locked_and_published_is_found(
    audit: dict[str, Any], tmp_path: Path
) -> None:
    install(tmp_path, "sound")
    install(tmp_path, "changed").write_text("A = 2\n")
    install(tmp_path, "gone").unlink()
    install(tmp_path, "other", "1.0")
    install(tmp_path, "ended", classifier="Development Status :: 7 - Inactive")
    install(tmp_path, "stranger")
    install(tmp_path, "voice-own")
    report = audit["Report"]()
    audit["check_installed"](report, installed_in(tmp_path), LOCKED, {"voice-own"})
    assert sorted(report.found) == [
        "absent 1.0 is locked and not installed",
        "changed 1.0: changed.py was changed after it was installed",
        "ended 1.0 says that its development has ended",
        "gone 1.0: gone.py is missing",
        "other 1.0 is installed, and 2.0 is locked",
        "stranger 1.0 is installed and not locked",
    ]


def test_what_runs_at_each_start_and_is_no_packages_is_found(audit: dict[str, Any], tmp_path: Path) -> None:
    install(tmp_path, "sound")
    (tmp_path / "strange.pth").write_text("import this\n")
    (tmp_path / "sitecustomize.py").write_text("")
    report = audit["Report"]()
    audit["check_start_files"](report, tmp_path, installed_in(tmp_path))
    assert [line.partition(" ")[0] for line in report.found] == ["sitecustomize.py", "strange.pth"]


def test_a_lock_is_read_for_this_platform(audit: dict[str, Any]) -> None:
    lock = (
        "# Written by make lock\n"
        "Some.Name==1.2 ; sys_platform == 'linux' \\\n    --hash=sha256:00 \\\n    --hash=sha256:01\n"
        "elsewhere==1.0 ; sys_platform == 'amiga' \\\n    --hash=sha256:02\n"
    )
    assert audit["locked_in"](lock) == {"some-name": "1.2"}
    assert len(audit["locked_in"]((ROOT / "requirements.lock").read_text())) > 100


def test_a_console_package_without_a_digest_or_installed_otherwise_is_found(
    audit: dict[str, Any], tmp_path: Path
) -> None:
    def written(path: Path, packages: dict[str, Any]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"packages": packages}))

    locked = {"": {}, "node_modules/a": {"integrity": "sha512-a"}, "node_modules/b": {"integrity": "sha1-b"}}
    written(tmp_path / "package-lock.json", locked)
    written(tmp_path / "node_modules" / ".package-lock.json", {"node_modules/a": {"integrity": "sha512-x"}})
    report = audit["Report"]()
    audit["check_npm_lock"](report, tmp_path)
    assert [line.partition(" ")[0] for line in report.found] == ["node_modules/b", "node_modules/a"]


Answering = Callable[[Sequence[str]], subprocess.CompletedProcess[str]]


def answering(*answers: str, code: int = 0, said: str = "") -> Answering:
    """Stand in for tools that ask other people's servers, one answer after the other."""
    left = list(answers)
    return lambda command: subprocess.CompletedProcess(command, code, left.pop(0), said)


def python_answer(*weak: str, skipped: bool = False) -> str:
    entry: dict[str, Any] = {"name": "some", "version": "1.0", "vulns": [{"id": name} for name in weak]}
    return json.dumps({"dependencies": [{"name": "some", "skip_reason": "unknown"} if skipped else entry]})


def npm_answer(*weak: str) -> str:
    return json.dumps({"auditReportVersion": 2, "vulnerabilities": {name: {"severity": "high"} for name in weak}})


def told(check: Any, tools: Answering, *arguments: Any) -> Any:
    """Run a check with `tools` in the place of the real ones."""
    check.__globals__["run"] = tools
    report = check.__globals__["Report"]()
    check(report, *arguments)
    return report


def test_advisories_of_a_source_that_knows_some_are_believed(audit: dict[str, Any], tmp_path: Path) -> None:
    python = audit["check_python_advisories"]
    assert told(python, answering(python_answer("CVE-1"), python_answer("CVE-2"))).found == ["some 1.0: CVE-2"]
    clean = told(python, answering(python_answer("CVE-1"), python_answer()))
    assert (len(clean.checked), clean.unchecked, clean.found) == (1, [], [])
    npm = audit["check_npm_advisories"]
    weak = told(npm, answering(npm_answer("lodash"), npm_answer("left")), tmp_path)
    assert weak.found == ["left (high), of the console's lock"]


@pytest.mark.parametrize("answer", ["", "no JSON", "{}", python_answer(), python_answer(skipped=True)])
def test_a_source_of_python_advisories_that_knows_none_is_said_to_be_out_of_reach(
    audit: dict[str, Any], answer: str
) -> None:
    report = told(audit["check_python_advisories"], answering(answer))
    assert (report.checked, report.found) == ([], [])
    assert "no source can be reached" in report.unchecked[0]


@pytest.mark.parametrize("answer", ["", '{"message": "405 Method Not Allowed"}', npm_answer()])
def test_a_source_of_npm_advisories_that_knows_none_is_said_to_be_out_of_reach(
    audit: dict[str, Any], tmp_path: Path, answer: str
) -> None:
    report = told(audit["check_npm_advisories"], answering(answer), tmp_path)
    assert (report.checked, report.found) == ([], [])
    assert "no source can be reached" in report.unchecked[0]


def test_a_withdrawn_release_is_found_and_an_index_out_of_reach_is_said(audit: dict[str, Any]) -> None:
    warning = 'Resolved 1 package in 3ms\nwarning: `attrs==21.1.0` is yanked (reason: "broken")\n'
    withdrawn = told(audit["check_withdrawn"], answering("", said=warning))
    assert withdrawn.found == ['`attrs==21.1.0` is yanked (reason: "broken")']
    away = told(audit["check_withdrawn"], answering("", code=2, said="error: Could not connect\n"))
    assert (away.checked, away.found) == ([], [])
    assert "Could not connect" in away.unchecked[0]


def test_a_tool_that_is_not_there_has_failed(audit: dict[str, Any], tmp_path: Path) -> None:
    assert audit["run"]([str(tmp_path / "missing")]).returncode == 127
