"""Processes on chosen cores, and the CPU time that they use."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from voice_local.process import bound_to_parent, kill_group

_ROOT = Path(__file__).parents[2]
_READY_SECONDS = 40.0
_STOP_SECONDS = 15.0


class Running:
    """A server on a loopback port; it is ready once the request `probe` is answered with 200."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, log: Path, probe: bytes) -> None:
        self.port = port
        self._process = process
        self._log = log
        self._probe = probe
        self._pids: tuple[int, ...] = ()

    def until_ready(self) -> Self:
        """Wait for it; raise `RuntimeError` with its last words where it does not become ready."""
        deadline = time.monotonic() + _READY_SECONDS
        while _status(self.port, self._probe) != 200:
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{self._process.args!r} is not ready:\n{self._log.read_text()[-2000:]}")
            time.sleep(0.02)
        self._pids = (self._process.pid, *_descendants(self._process.pid))
        return self

    def terminate(self) -> None:
        """Ask for its end."""
        self._process.send_signal(signal.SIGTERM)

    def cpu_seconds(self) -> float:
        """Give the CPU time of all its processes so far: what ``/proc/PID/stat`` has, but not in ticks of 10 ms."""
        # The process's CPU clock, as clock_getcpuclockid(3) makes it out of a pid.
        return sum(time.clock_gettime_ns((~pid << 3) | 2) for pid in self._pids) / 1e9


def split_cores() -> tuple[int, set[int]]:
    """Give the core of the server under test, and those of everything else."""
    available = sorted(os.sched_getaffinity(0))
    if len(available) < 2:
        raise SystemExit("the gateway's benchmark needs two cores: one for the server, one for its load")
    return available[-1], set(available[:-1])


@contextmanager
def running(
    command: Sequence[str], port: int, *, cores: set[int], log: Path, environment: Mapping[str, str], probe: bytes
) -> Iterator[Running]:
    """Run a server on `cores` until the block ends; it may not be ready yet."""
    bind = bound_to_parent()

    def prepare() -> None:
        bind()
        os.sched_setaffinity(0, cores)

    inherited = {name: value for name, value in os.environ.items() if not name.startswith("VOICE_")}
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=_ROOT,
            env={**inherited, **environment},
            start_new_session=True,  # Ctrl-C is for the benchmark alone, which then ends all in order
            preexec_fn=prepare,  # noqa: PLW1509 - system calls and nothing else
        )
    try:
        yield Running(process, port, log, probe)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            kill_group(process.pid)
            process.wait()


def ask(port: int, request: bytes) -> bytes:
    """Send one request on a connection of its own; give the whole answer, whose head has its length."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as link:
        link.sendall(request)
        answer = b""
        while True:
            part = link.recv(65536)
            answer += part
            head, end, body = answer.partition(b"\r\n\r\n")
            if not part or (end and len(body) >= _length(head)):
                return answer


def _length(head: bytes) -> int:
    lines = head.lower().split(b"\r\n")
    return next((int(line[15:]) for line in lines if line.startswith(b"content-length:")), 0)


def _status(port: int, request: bytes) -> int | None:
    try:
        answer = ask(port, request)
    except OSError:
        return None
    return int(answer[9:12]) if answer else None


def _descendants(pid: int) -> Iterator[int]:
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        yield int(child)
        yield from _descendants(int(child))
