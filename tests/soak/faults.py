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
    with suppress(ProcessLookupError):  # it may just have ended by itself: it is started again all the same
        if kind == "kill":
            os.kill(pid, signal.SIGKILL)
        elif kind == "restart":
            os.kill(pid, signal.SIGTERM)
        elif kind == "kill a worker":
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
            if children:
                os.kill(int(children[0]), signal.SIGKILL)
        elif kind == "stop":
            os.killpg(pid, signal.SIGSTOP)

    async def undo() -> None:
        if kind == "stop":
            with suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGCONT)

    return Made(undo, target)


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
