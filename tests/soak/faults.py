"""Faults as they are made, and healed."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import redis

from soak.fleet import Fleet
from soak.schedule import Fault

_DELAY = 0.15


@dataclass(frozen=True)
class Made:
    """A fault that is there: `undo` takes it away, and then `program`, where there is one, must serve again."""

    undo: Callable[[], Awaitable[None]]
    program: str | None = None


async def make(fleet: Fleet, fault: Fault) -> Made:
    """Make a fault; a role in a replica set is whoever has it at that moment."""
    target = await asyncio.to_thread(_resolved, fleet, fault.target)
    if ">" in target:
        return await _on_link(fleet, fault.kind, target)
    if fault.kind == "step down":
        await asyncio.to_thread(fleet.step_down, target)
    elif fault.kind == "empty":
        await asyncio.to_thread(_empty, fleet.ports["redis"])
    else:
        return _on_process(fleet, fault.kind, target)
    return Made(_nothing)


def _resolved(fleet: Fleet, target: str) -> str:
    for role in ("primary", "secondary"):
        if target == role:
            return fleet.node(role)
        if target == f"all>{role}":
            return f"all>{fleet.node(role)}"
    return target


def _on_process(fleet: Fleet, kind: str, target: str) -> Made:
    pid = fleet.units[target].pid
    assert pid is not None
    if kind.endswith("a verifier"):
        return _on_verifier(pid, kind)
    with suppress(ProcessLookupError):  # it may just have ended by itself: it is started again all the same
        if kind == "kill":
            os.kill(pid, signal.SIGKILL)
        elif kind == "restart":
            os.kill(pid, signal.SIGTERM)
        elif kind == "kill a worker":
            if children := _children(pid):
                os.kill(children[0], signal.SIGKILL)
        elif kind == "stop":
            os.killpg(pid, signal.SIGSTOP)

    async def undo() -> None:
        if kind == "stop":
            with suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGCONT)

    return Made(undo, target)


def _on_verifier(pid: int, kind: str) -> Made:
    """Kill or stop a process that checks signatures beside a worker; there is one once many came at a time.

    The service must serve all the while: nobody waits for it to come back.
    """
    verifiers = [verifier for worker in _children(pid) for verifier in _children(worker)]
    if not verifiers:
        return Made(_nothing)
    with suppress(ProcessLookupError):
        os.kill(verifiers[0], signal.SIGKILL if kind.startswith("kill") else signal.SIGSTOP)

    async def undo() -> None:
        with suppress(ProcessLookupError):
            os.kill(verifiers[0], signal.SIGCONT)

    return Made(undo if kind.startswith("stop") else _nothing)


def _children(pid: int) -> list[int]:
    """Give the processes that any thread of a process has started: those that it has not reaped."""
    found = []
    for told in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):
            found += [int(child) for child in told.read_text().split()]
    return found


async def _on_link(fleet: Fleet, kind: str, target: str) -> Made:
    link = fleet.links[target]
    if kind == "reset":
        link.reset()
    elif kind == "refuse":
        await link.close()
    elif kind == "delay":
        link.delay = _DELAY
    elif kind == "cut":
        link.hold()
    elif kind == "mute":
        link.hold(there=False)
    return Made(link.heal)


def _empty(port: int) -> None:
    with suppress(redis.exceptions.ConnectionError), redis.Redis(port=port, socket_timeout=2) as client:
        client.flushall()


async def _nothing() -> None:
    """Take away what is over as it happens."""
