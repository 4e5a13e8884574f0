"""The seeded schedule: which faults come after each other, and when there is calm. The same seed, the same schedule."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

SERVICES = ("gateway", "webhooks", "analytics", "analytics-worker", "recordings")
_PROCESS = ("kill", "kill a worker", "stop", "restart")
_LINK = ("cut", "mute", "delay", "reset", "refuse")
_MENU = ("service", "link", "service", "store", "link", "redis")
_VERIFIER = ("kill a verifier", "stop a verifier")
_LASTING = frozenset({"stop", "stop a verifier", "cut", "mute", "delay", "refuse"})
_STEPS_TO_CALM = (4, 5, 6)
_CALM_SECONDS = 6.0
"""What a calm moment is thought to take; the fault's own seconds and a little for each one's healing come to it."""
_HEALING_SECONDS = 0.8


@dataclass(frozen=True)
class Fault:
    """One fault; `seconds` is how long it lasts (0: it is over as it happens)."""

    kind: str
    target: str
    seconds: float = 0.0


@dataclass(frozen=True)
class Step:
    """Faults that are there together, and the pause after them; none of them is a calm moment."""

    faults: tuple[Fault, ...] = ()
    pause: float = 0.0

    @property
    def is_calm(self) -> bool:
        return not self.faults


def plan(seed: int, seconds: float, *, nodes: int, longest: float) -> list[Step]:
    """Give steps that take about `seconds`, with faults of at most `longest` seconds; the last one is calm.

    Every kind of target has its turn before one comes again, and so have all faults of a kind of target.
    """
    rng = Random(f"{seed}/{nodes}")  # noqa: S311 - no secret
    decks: dict[str, list[tuple[str, str]]] = {}
    menu: list[str] = []
    steps: list[Step] = []
    taken, to_calm = 0.0, rng.choice(_STEPS_TO_CALM)
    while taken < seconds - _CALM_SECONDS:
        if to_calm == 0:
            steps.append(Step())
            taken, to_calm = taken + _CALM_SECONDS, rng.choice(_STEPS_TO_CALM)
            continue
        faults: list[Fault] = []
        for _ in range(2 if rng.random() < 0.3 else 1):
            menu = menu or rng.sample(_MENU, len(_MENU))
            group = menu.pop()
            if not decks.get(group):
                decks[group] = sorted(_choices(group, nodes))
                rng.shuffle(decks[group])
            kind, target = decks[group].pop()
            lasts = round(longest * rng.random() ** 2 + 0.3, 2) if kind in _LASTING else 0.0
            if all(target != fault.target for fault in faults):
                faults.append(Fault(kind, target, lasts))
        step = Step(tuple(faults), round(rng.uniform(0.1, 1.0), 2))
        steps.append(step)
        taken += max(fault.seconds for fault in faults) + step.pause + _HEALING_SECONDS
        to_calm -= 1
    return [*steps, Step()]


def links(nodes: int) -> list[str]:
    """Give the names of the links between the programs: who speaks to whom."""
    to_services = [f"gateway>{name}" for name in ("webhooks", "analytics", "recordings")]
    if nodes == 1:
        to_mongo = [f"{name}>mongod" for name in SERVICES]
    else:
        to_mongo = [f"all>mongod-{place}" for place in range(nodes)]
    return [*to_services, *to_mongo, "gateway>redis"]


def _choices(group: str, nodes: int) -> set[tuple[str, str]]:
    if group == "service":
        processes = {(kind, name) for kind in _PROCESS for name in SERVICES if (kind, name) != _ONLY}
        return processes | {(kind, "webhooks") for kind in _VERIFIER}
    if group == "link":
        between = [name for name in links(nodes) if not name.startswith("all>")]
        to_nodes = ["all>primary", "all>secondary"] if nodes > 1 else []
        return {(kind, name) for kind in _LINK for name in (*between, *to_nodes)}
    if group == "redis":
        return {("kill", "redis"), ("stop", "redis"), ("restart", "redis"), ("empty", "redis")}
    if nodes == 1:
        return {(kind, "mongod") for kind in ("kill", "stop", "restart")}
    who = ("primary", "secondary")
    return {(kind, name) for kind in ("kill", "stop", "restart") for name in who} | {("step down", "primary")}


_ONLY = ("kill a worker", "analytics-worker")  # it is one process, without workers of its own
