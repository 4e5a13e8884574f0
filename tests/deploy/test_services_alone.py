"""Each service runs with what its own pyproject.toml asks for, and nothing of the other services."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
import tomllib
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from settings_table import ROOT

from voice_common.identity import new_key_pair
from voice_local.servers import Server, free_port

SERVICES = sorted(path.name for path in (ROOT / "services").iterdir() if path.is_dir())
IMPORT_ALL = """
import importlib, pkgutil, sys
for name in sys.argv[1:]:
    package = importlib.import_module(name)
    for module in pkgutil.walk_packages(package.__path__, f"{name}."):
        importlib.import_module(module.name)
"""


def needs_of(name: str, extras: frozenset[str] = frozenset(), found: set[str] | None = None) -> set[str]:
    """Give the normal names of a distribution and of all that it needs here, in turn."""
    found = set() if found is None else found
    found.add(re.sub(r"[-_.]+", "-", name).lower())
    project = ROOT / ("libs/common" if name == "voice-common" else f"services/{name.removeprefix('voice-')}")
    if name.startswith("voice-"):  # not from what is installed: that can be older than pyproject.toml
        requires = tomllib.loads((project / "pyproject.toml").read_text())["project"]["dependencies"]
    else:
        requires = distribution(name).requires or []
    for text in requires:
        need = Requirement(text)
        wanted = need.marker is None or any(need.marker.evaluate({"extra": extra}) for extra in {"", *extras})
        if wanted and (re.sub(r"[-_.]+", "-", need.name).lower() not in found or need.extras):
            needs_of(need.name, frozenset(need.extras), found)
    return found


@pytest.fixture(params=SERVICES)
def service(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def environment(service: str, tmp_path: Path) -> dict[str, str]:
    """Give an environment whose Python sees the service, common, what they need, and no other installed package."""
    modules = tmp_path / "modules"
    modules.mkdir()
    for name in needs_of(f"voice-{service}"):
        installed = distribution(name)
        for top in {file.parts[0] for file in installed.files or []} - {"..", "__pycache__"}:
            link = modules / top
            if not top.endswith(".pth") and not link.exists():
                link.symlink_to(Path(str(installed.locate_file(top))))
    (modules / "voice_common").symlink_to(ROOT / "libs/common/src/voice_common")
    (modules / f"voice_{service}").symlink_to(ROOT / f"services/{service}/src/voice_{service}")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("VOICE_", "PYTHON"))}
    return {**inherited, "PYTHONPATH": str(modules)}


@contextmanager
def running(service: str, environment: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    # -S: without it Python adds the site-packages of .venv, where everything is
    with subprocess.Popen([sys.executable, "-S", "-m", f"voice_{service}"], env=environment) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()


def status_of(url: str) -> int | None:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return None


def test_a_service_imports_what_it_declares_and_no_other_service(service: str, environment: dict[str, str]) -> None:
    command = [sys.executable, "-S", "-c", IMPORT_ALL, "voice_common", f"voice_{service}"]
    imported = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert imported.returncode == 0, imported.stderr


def test_a_service_starts_and_stops_in_an_environment_of_its_own(
    service: str, environment: dict[str, str], mongo_server: Server, redis_server: Server
) -> None:
    private, public = new_key_pair()
    port = free_port()
    told = {
        "VOICE_PORT": str(port),
        "VOICE_METRICS_PORT": str(free_port()),
        "VOICE_MONGO_URL": mongo_server.url,
        "VOICE_MONGO_DATABASE": f"test_alone_{service}",
        "VOICE_REDIS_URL": redis_server.url,
        "VOICE_IDENTITY_PRIVATE_KEY": private,
        "VOICE_IDENTITY_PUBLIC_KEYS": public,
        "VOICE_DRAIN_SECONDS": "2",
    }
    with running(service, {**environment, **told}) as process:
        deadline = time.monotonic() + 30
        while status_of(f"http://127.0.0.1:{port}/livez") != 200:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0


def test_a_wrong_setting_stops_the_start_with_a_sentence_that_names_it(
    service: str, environment: dict[str, str]
) -> None:
    command = [sys.executable, "-S", "-m", f"voice_{service}"]
    private, public = new_key_pair()
    keys = {"VOICE_IDENTITY_PRIVATE_KEY": private, "VOICE_IDENTITY_PUBLIC_KEYS": public}
    ended = subprocess.run(
        command, env={**environment, **keys, "VOICE_WORKERS": "many"}, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 2
    assert re.fullmatch(rf"voice-{service}: VOICE_WORKERS is wrong: .+\n", ended.stderr)
