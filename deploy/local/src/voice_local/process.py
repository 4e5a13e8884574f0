"""How the local stack's processes begin and end: each leads a group and dies with its parent."""

from __future__ import annotations

import os
import random
import signal
import socket
from collections.abc import Callable
from contextlib import suppress

from voice_common.lifeline import die_with_parent

# Below Linux' ephemeral ports: an outgoing connection can neither take a server's port while it restarts, nor,
# trying to reach that port, connect to itself.
_PORTS = range(20_000, 32_768)


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
    """Give a loopback port that nobody listens on now."""
    while True:
        port = random.choice(_PORTS)  # noqa: S311 - no secret
        if port_is_free(port):
            return port
