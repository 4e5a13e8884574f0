"""The data directory of a local stack: who uses it, its ports, its keys and its ``stack.json``."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from voice_common.identity import new_key_pair, public_key_of
from voice_local.process import free_port, port_is_free


class DataDirError(Exception):
    """The data directory can't be used; the text is one sentence that says why and what to do."""


@dataclass(frozen=True, slots=True)
class Keys:
    """The private keys (base64) of a stack: the gateway's identity, and the one that stands in for Telnyx'."""

    identity: str
    telnyx: str

    @property
    def identity_public(self) -> str:
        """The public key (base64) by which services know the gateway."""
        return public_key_of(self.identity)

    @property
    def telnyx_public(self) -> str:
        """The public key (base64) by which the webhooks service knows simulated events."""
        return public_key_of(self.telnyx)


class DataDir:
    """The files of one local stack. Secrets are for its owner alone."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self.logs = self.path / "logs"
        self.scratch = self.path / "tmp"
        self.stack_file = self.path / "stack.json"
        self.token_file = self.path / "demo-token"
        self.demo_file = self.path / "demo.json"

    @contextmanager
    def held(self) -> Iterator[None]:
        """Make the directory and keep other stacks out of it, until this process ends at the latest.

        Raises `DataDirError` where it can't be written or another stack has it.
        """
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = (self.path / "lock").open("a+")
        except OSError as error:
            raise DataDirError(f"The data directory {self.path} can't be written: {error.strerror}") from error
        with lock:
            self._take(lock)
            try:
                self.stack_file.unlink(missing_ok=True)
                shutil.rmtree(self.scratch, ignore_errors=True)
                for folder in (self.logs, self.scratch):
                    folder.mkdir(exist_ok=True)
                for log in self.logs.glob("*.log"):
                    log.replace(log.with_suffix(".log.old"))
            except OSError as error:
                raise DataDirError(f"The data directory {self.path} can't be written: {error.strerror}") from error
            try:
                yield
            finally:
                self.stack_file.unlink(missing_ok=True)
                shutil.rmtree(self.scratch, ignore_errors=True)

    def ports(self, names: Iterable[str], *, besides: Collection[int] = ()) -> dict[str, int]:
        """Give each name a free loopback port, the one that it had the last time where that is still free.

        None is one of `besides`: those will be listened on, too.
        """
        file = self.path / "ports.json"
        try:
            before = _read(file)
        except (FileNotFoundError, ValueError):
            before = {}
        ports: dict[str, int] = {}
        for name in names:
            port = before.get(name)
            while not isinstance(port, int) or port in {*ports.values(), *besides} or not port_is_free(port):
                port = free_port()
            ports[name] = port
        _write(file, json.dumps(ports))
        return ports

    def port_of(self, name: str) -> int | None:
        """Give the port that `ports` gave to a name the last time, or ``None`` where it gave none."""
        try:
            port = _read(self.path / "ports.json").get(name)
        except (FileNotFoundError, ValueError):
            return None
        return port if isinstance(port, int) else None

    def keys(self) -> Keys:
        """Give the stack's keys, made at the first call; raise `DataDirError` where the file is damaged."""
        file = self.path / "keys.json"
        if not file.exists():
            _write(file, json.dumps({"identity": new_key_pair()[0], "telnyx": new_key_pair()[0]}))
        try:
            document = _read(file)
            keys = Keys(str(document["identity"]), str(document["telnyx"]))
            _ = keys.identity_public, keys.telnyx_public
        except (KeyError, TypeError, ValueError) as error:
            raise DataDirError(f"{file} is damaged; remove it, and a new one is made") from error
        return keys

    def store_passwords(self) -> dict[str, str]:
        """Give the passwords of the store's users, made at the first call; raise `DataDirError` where damaged."""
        from voice_local.store_users import new_passwords  # noqa: PLC0415 - only a stack with passwords needs it

        file = self.path / "store-users.json"
        if not file.exists():
            _write(file, json.dumps(new_passwords()))
        try:
            return {user: str(password) for user, password in _read(file).items()}
        except ValueError as error:
            raise DataDirError(f"{file} is damaged; the passwords in it can't be made again") from error

    def write_stack(self, stack: Mapping[str, object]) -> None:
        """Replace ``stack.json`` atomically."""
        _write(self.stack_file, json.dumps(stack, indent=2))

    def write_secret(self, file: Path, text: str) -> None:
        """Replace one file of the directory atomically; only its owner can read it."""
        _write(file, text)

    def _take(self, lock: IO[str]) -> None:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.seek(0)
            raise DataDirError(
                f"Another stack runs on {self.path} (process {lock.read().strip() or 'unknown'}); "
                "stop it, or choose another with --data-dir"
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()


def _read(file: Path) -> dict[str, object]:
    document = json.loads(file.read_text())
    return document if isinstance(document, dict) else {}


def _write(file: Path, text: str) -> None:
    draft = file.with_name(f".{file.name}.{os.getpid()}")
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as output:  # noqa: PTH123 - takes a descriptor
        output.write(text + "\n")
    draft.replace(file)
