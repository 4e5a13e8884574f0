"""How the local stack's processes begin and end: each leads a group and dies with its parent."""

from __future__ import annotations

import fcntl
import os
import random
import signal
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from voice_common.lifeline import die_with_parent

# Below Linux' ephemeral ports: an outgoing connection can neither take a server's port while it restarts, nor,
# trying to reach that port, connect to itself.
_PORTS = range(20_000, 32_768)
_GIVEN_SECONDS = 60.0


def bound_to_parent() -> Callable[[], None]:
    """Give what a child runs between fork and exec so that it never outlives this process.

    The thread that forks must live as long as the child: the kernel watches the thread, not the process.
    """
    parent = os.getpid()

    def bind() -> None:
        die_with_parent()
        if os.getppid() != parent:  # the parent died before the kernel was told to watch it
            os._exit(1)

    return bind


def kill_group(leader: int) -> None:
    """End every process of a group at once; `leader` may be gone already."""
    with suppress(ProcessLookupError):
        os.killpg(leader, signal.SIGKILL)


def port_is_free(port: int, host: str = "127.0.0.1") -> bool:
    """Tell whether nobody listens on a port; raise `PermissionError` where this user may not."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do: what lingers is no listener
        try:
            probe.bind((host, port))
        except PermissionError:
            raise
        except OSError:
            return False
    return True


def free_port() -> int:
    """Give a loopback port that nobody listens on now, and that no process of this user was given a moment ago.

    A port is asked for before it is listened on: two processes that ask at once must not get the same one.
    """
    with _given_ports() as given:
        while (port := random.choice(_PORTS)) in given or not port_is_free(port):  # noqa: S311 - no secret
            pass
        given[port] = time.time()
    return port


@contextmanager
def _given_ports() -> Iterator[dict[int, float]]:
    """Give when ports were given, in Unix seconds, of the last `_GIVEN_SECONDS`; nobody else gives any meanwhile."""
    path = Path(tempfile.gettempdir()) / f"voice-ports-{os.getuid()}"
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    with os.fdopen(file, "r+") as book:
        fcntl.flock(book, fcntl.LOCK_EX)
        oldest = time.time() - _GIVEN_SECONDS
        try:
            given = {int(port): float(at) for port, at in (line.split() for line in book)}
        except ValueError:  # a process was killed while it wrote
            given = {}
        given = {port: at for port, at in given.items() if at > oldest}
        yield given
        book.seek(0)
        book.write("".join(f"{port} {at}\n" for port, at in given.items()))
        book.truncate()
