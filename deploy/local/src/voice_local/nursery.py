"""Forks the stack's services from one process that has imported what all of them need.

Importing takes a service seconds of one core; forked, it serves in a fraction of one, also when it is started again.
Run as ``python -m voice_local.nursery``: JSON orders ``{name, environment, log}`` on standard input, one a line; JSON
reports ``{name, pid}`` and ``{pid, code}`` on standard output. It ends with its parent, its children with it.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import select
import signal
import socket
import sys
import tempfile
import traceback
from importlib.metadata import entry_points
from typing import Any

from voice_local.process import bound_to_parent

# Not prometheus-client: it decides at its import where a process keeps its metrics.
_SHARED = (
    "aiohttp.web",
    "aiohttp.worker",
    "jwt",
    "redis.asyncio",
    "uvloop",
    "voice_common.identity",
    "voice_common.mongo",
    "voice_common.serving",
    "voice_common.store.tenants",
)
_STDIN, _STDOUT, _STDERR = 0, 1, 2


def main() -> None:
    """Fork what is ordered until standard input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the stack, which stops its services in their order
    for module in _SHARED:
        importlib.import_module(module)
    gc.collect()
    gc.freeze()  # else a collection in a child would copy every page that it shares
    ended, wake = socket.socketpair()
    wake.settimeout(0)  # what set_wakeup_fd asks for
    signal.set_wakeup_fd(wake.fileno(), warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    orders = b""
    while True:
        readable, _, _ = select.select([_STDIN, ended.fileno()], [], [])
        if ended.fileno() in readable:
            ended.recv(4096)
            _report_ended()
        if _STDIN in readable:
            received = os.read(_STDIN, 1 << 20)
            if not received:
                return
            *complete, orders = (orders + received).split(b"\n")
            for order in complete:
                _fork(json.loads(order))


def _fork(order: dict[str, Any]) -> None:
    bind = bound_to_parent()
    pid = os.fork()
    if pid == 0:
        try:
            bind()
            _become(order)
            os._exit(_code_of(order["name"]))
        finally:
            os._exit(1)  # whatever happened: two processes must not go on with one loop
    _say({"name": order["name"], "pid": pid})


def _become(order: dict[str, Any]) -> None:
    """Turn into the service's process: a session, a log and an environment of its own, and nothing of this one's."""
    os.setsid()
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGINT, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, _STDIN), (log, _STDOUT), (log, _STDERR)):
        os.dup2(source, target)
    os.closerange(_STDERR + 1, 256)
    os.environ.clear()
    os.environ.update(order["environment"])
    tempfile.tempdir = None  # what it was chosen by has changed
    sys.argv = [order["name"]]


def _code_of(name: str) -> int:
    """Run a console script; give the code that its process must end with."""
    try:
        for script in entry_points(group="console_scripts", name=name):
            script.load()()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:  # noqa: BLE001 - the end of this process, whatever it was
        traceback.print_exc()
        return 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    return 0


def _report_ended() -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        _say({"pid": pid, "code": os.waitstatus_to_exitcode(status)})


def _say(report: dict[str, Any]) -> None:
    os.write(_STDOUT, json.dumps(report).encode() + b"\n")


if __name__ == "__main__":
    main()
