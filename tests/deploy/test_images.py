"""The image of a service: its Dockerfile is clean, and what its build makes runs alone, without a right to write."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from dockerfile import context_files, read_dockerfile, run_stage
from settings_table import ROOT

from voice_common.identity import new_key_pair
from voice_local.servers import Server, free_port

DOCKERFILE = ROOT / "deploy/docker/Dockerfile"
DEFAULTS, STAGES = read_dockerfile(DOCKERFILE)
CONSOLE, BUILD, END = STAGES
SERVICES = sorted(path.name for path in (ROOT / "services").iterdir() if path.is_dir())
HADOLINT = Path(sys.executable).with_name("hadolint")
NOBODY = 10001


def contained() -> list[str]:
    """Give what starts a command as process 1, and as the Dockerfile's user; nothing where neither is allowed.

    Only root can change users and make namespaces, and the home of this Python may be closed to others.
    """
    if shutil.which("unshare") is None:
        return []
    alone = ["unshare", "--pid", "--fork", "--kill-child"]
    python = [str(Path(sys.executable).resolve()), "-c", ""]
    for command in ([*alone, f"--setgid={NOBODY}", f"--setuid={NOBODY}"], alone):
        if subprocess.run([*command, *python], check=False, capture_output=True).returncode == 0:
            return command
    return []


CONTAINED = contained()


def test_hadolint_finds_nothing() -> None:
    if not HADOLINT.exists():
        pytest.skip("hadolint's wheel is for Linux on x86-64")
    linted = subprocess.run([HADOLINT, DOCKERFILE], capture_output=True, text=True, check=False)
    assert (linted.returncode, linted.stdout) == (0, "")


def test_bases_are_exact_versions() -> None:
    exact = re.compile(r"[\w./-]+:\d+\.\d+\.\d+(-[\w.-]+)?(@sha256:[0-9a-f]{64})?")
    assert exact.fullmatch(DEFAULTS["BASE"])
    assert {stage.base for stage in STAGES} == {"${BASE}"}
    for path in [ROOT / "compose.yaml", *sorted((ROOT / "deploy/kubernetes").rglob("*.yaml"))]:
        images = re.findall(r"^\s*image: (\S+)", path.read_text(), re.MULTILINE)
        foreign = [image for image in images if not image.startswith(("voice-", "registry.example.com/"))]
        assert [image for image in foreign if not exact.fullmatch(image)] == [], path.name


def test_the_end_image_gets_the_built_tree_and_no_tool_of_the_build() -> None:
    assert END.arguments("COPY") == ["--from=build /app /app"]
    assert END.arguments("ADD") == []
    (removal,) = END.arguments("RUN")
    assert "pip uninstall" in removal
    assert "ensurepip" in removal
    assert END.arguments("USER") == [f"{NOBODY}:{NOBODY}"]
    assert [stage.arguments("HEALTHCHECK") for stage in STAGES] == [[], [], []]


def test_only_sources_are_sent_to_the_build() -> None:
    files = context_files(ROOT)
    assert {str(file.parts[0]) for file in files} == {".ci", "libs", "requirements.lock", "services"}
    unwanted = re.compile(r"__pycache__|\.pyc$|node_modules|console_files|\.egg-info|\.env$|\.venv")
    assert [file for file in files if unwanted.search(str(file))] == []


@pytest.fixture
def top() -> Iterator[Path]:
    """Give a directory that any user may look into, in the place of an image's root."""
    folder = Path(tempfile.mkdtemp(prefix="voice-image-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def entries(lock: str) -> set[str]:
    return set(re.split(r"\n(?=\S)", lock.rstrip()))


def build(service: str, top: Path, console: Path) -> None:
    page = console / "build/console_files/index.html"
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text("<!doctype html>")
    run_stage(BUILD, ROOT, top, {"SERVICE": service}, {"console": console})


def serves(top: Path, service: str, mongo: Server, redis: Server, scratch: Path) -> None:
    """Run an image's tree until it is ready, then stop it; it may write to `scratch` only.

    It is process 1, of the Dockerfile's user, where this machine allows that: what a kernel and an init do for others
    (signals without a handler, orphans) it must do itself.
    """
    private, public = new_key_pair()
    port, metrics_port = free_port(), free_port()
    scratch.mkdir(mode=0o777)
    scratch.chmod(0o777)
    before = set(top.rglob("*"))
    environment = {
        "PATH": f"{top}/app/bin:/usr/bin:/bin",
        "PYTHONDONTWRITEBYTECODE": "1",
        "HOME": "/nonexistent",
        "TMPDIR": str(scratch),
        "VOICE_HOST": "127.0.0.1",
        "VOICE_PORT": str(port),
        "VOICE_METRICS_PORT": str(metrics_port),
        "VOICE_WORKERS": "2",
        "VOICE_MONGO_URL": mongo.url,
        "VOICE_MONGO_DATABASE": f"test_image_{service}",
        "VOICE_REDIS_URL": redis.url,
        "VOICE_IDENTITY_PRIVATE_KEY": private,
        "VOICE_IDENTITY_PUBLIC_KEYS": public,
        "VOICE_DRAIN_SECONDS": "2",
    }
    process = subprocess.Popen([*CONTAINED, f"{top}/app/bin/service"], env=environment, cwd="/")
    try:
        ready = f"http://127.0.0.1:{metrics_port if service == 'gateway' else port}/readyz"
        deadline = time.monotonic() + 30
        while not answers(ready):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        os.kill(first_child(process.pid) if CONTAINED else process.pid, signal.SIGTERM)
        assert process.wait(20) == 0
    finally:
        if process.poll() is None:
            process.kill()
    assert set(top.rglob("*")) == before
    assert list(scratch.iterdir()) == []


def first_child(pid: int) -> int:
    return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def test_an_image_is_built_of_its_service_alone_and_serves(
    top: Path, tmp_path: Path, mongo_server: Server, redis_server: Server
) -> None:
    build("recordings", top, tmp_path / "console")
    parts = entries((top / "build/image.lock").read_text())
    assert parts <= entries((ROOT / "requirements.lock").read_text()), "the lock's own lines, hashes and all"
    names = {entry.partition("==")[0] for entry in parts}
    assert {"aiohttp", "gunicorn", "pymongo", "yarl"} <= names
    assert names.isdisjoint({"pytest", "ruff", "uv", "redis", "vadersentiment", "voice-common"})
    site = next((top / "app/lib").glob("python3*/site-packages"))
    installed = {path.name.partition("-")[0] for path in site.glob("*.dist-info")}
    assert {name for name in installed if name.startswith("voice")} == {"voice_common", "voice_recordings"}
    assert installed.isdisjoint({"pip", "setuptools", "wheel", "uv", "hatchling", "pytest", "redis"})
    assert list(site.glob("voice_recordings/__pycache__/*.pyc")) != []  # a read-only root can't have them made later
    assert (top / "app/bin/service").readlink() == Path("voice-recordings")
    serves(top, "recordings", mongo_server, redis_server, top / "tmp")


@pytest.mark.soak
@pytest.mark.parametrize("service", SERVICES)
def test_every_image_serves(
    service: str, top: Path, tmp_path: Path, mongo_server: Server, redis_server: Server
) -> None:
    build(service, top, tmp_path / "console")
    serves(top, service, mongo_server, redis_server, top / "tmp")


@pytest.mark.soak
def test_the_operators_image_has_every_command(top: Path, tmp_path: Path) -> None:
    build(" ".join(SERVICES), top, tmp_path / "console")
    said = subprocess.run(
        [top / "app/bin/service", "--help"], capture_output=True, text=True, check=True, env={}
    ).stdout
    assert {"admin", "events", "rebuild", "tenant", "token"} <= set(said.split())


@pytest.mark.soak
def test_the_console_is_built_for_the_gateways_image(top: Path) -> None:
    run_stage(CONSOLE, ROOT, top, {})
    assert "/console/assets/" in (top / "build/console_files/index.html").read_text()


@pytest.mark.soak
def test_a_file_that_is_not_the_locks_stops_the_build(top: Path, tmp_path: Path) -> None:
    context = tmp_path / "context"
    for file in [*context_files(ROOT), Path(".dockerignore")]:
        (context / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / file, context / file)
    lock = context / "requirements.lock"
    changed = re.sub(
        r"(\nmdurl==[^\n]+\n)(?:    --hash[^\n]+\n)+", rf"\1    --hash=sha256:{'0' * 64}\n", lock.read_text()
    )
    assert changed != lock.read_text()
    lock.write_text(changed)
    with pytest.raises(AssertionError, match="mdurl"):
        run_stage(BUILD, context, top, {"SERVICE": "recordings"}, {"console": tmp_path})
