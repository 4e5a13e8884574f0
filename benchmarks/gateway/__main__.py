"""Runs the gateway's benchmark: ``python -m benchmarks.gateway``; ``QUICK=1`` for less than a minute.

Each server under test has one core for itself; stores, services and the load share the others. Behind every proxy
is the same upstream, which replays recorded answers of the real services and is never the bottleneck; a cache hit's
answer comes from the real analytics service.

The paced rounds are those in which the hypervisor took least of the machine: on a host that is shared, the p99 of
every server, the bare ones too, is else the length for which a core was taken away. How much was taken is shown.

Ratios are of CPU time for each request: what one core that does nothing else can serve. That is the same as the
ratio of rates where both servers fill their core, and does not flatter ours where the load can't fill a peer's. The
table shows both, and how busy the server's core was.
"""

from __future__ import annotations

import itertools
import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import uvloop

from benchmarks.gateway.pinned import ask, split_cores
from benchmarks.gateway.system import get, system
from benchmarks.gateway.targets import (
    ENVOY,
    FASTAPI,
    HELLO,
    HIT,
    NGINX,
    PASS_THROUGH,
    PROXIED,
    REVALIDATED,
    SHOWN,
    Target,
    start_targets,
)
from benchmarks.load import LoadResult, PacedLoad, run_load
from benchmarks.report import print_result, print_table
from benchmarks.stolen import Stolen

QUICK = bool(os.environ.get("QUICK"))
RUNS, SECONDS, PACED_SECONDS = (5, 0.25, 0.5) if QUICK else (7, 3.0, 1.0)
MOST_PACED = RUNS * (2 if QUICK else 12)
QUIET = 0.002  # of all cores' time
SLOW_SECONDS = max(SECONDS, 0.6)  # FastAPI's connections wait that long for their turn
CONNECTIONS = (32, 128)
FULL = CONNECTIONS[-1]
LEFT_OUT = {(REVALIDATED, 32), (REVALIDATED, 128), (FASTAPI, 32)} if QUICK else set()
OURS = {HIT, REVALIDATED, PROXIED}
DEGRADED = "voice_gateway_limiter_degraded "
LIMIT_DECISIONS = 'voice_gateway_limit_decisions_total{area="%s"'

Runs = dict[tuple[str, int], list[LoadResult]]


def compare(targets: dict[str, Target], metrics_port: int) -> Runs:
    """Load each target in turn, `RUNS` times; `metered` of each result is the server's CPU seconds for an answer."""
    runs: Runs = {pair: [] for pair in itertools.product(targets, CONNECTIONS) if pair not in LEFT_OUT}
    for turn in range(RUNS):
        # Forth and back: a machine that does not stay as it is would always be worse for those that come later.
        for (name, connections), results in list(runs.items())[:: -1 if turn % 2 else 1]:
            target = targets[name]
            if name in OURS:
                until_exact(metrics_port)
            load = run_load(
                target.server.port,
                itertools.repeat(target.request),
                connections=connections,
                seconds=SLOW_SECONDS if name == FASTAPI else SECONDS,
                meter=target.server.cpu_seconds,
            )
            result = uvloop.run(load)
            if set(result.statuses) != {target.status}:
                raise RuntimeError(f"{name}: not all answers were good: {result.statuses}")
            results.append(result)
    return runs


class PacedRound(NamedTuple):
    """A p99 in milliseconds, from when each request was due, and what share of the cores was taken meanwhile."""

    p99_ms: float
    stolen: float


def paced_round(target: Target, port: int, rate: float) -> PacedRound:
    """Send a target's request to a port at a steady rate."""
    load = PacedLoad(port, connections=FULL, acknowledged=lambda _number: None)
    requests = [target.request] * int(rate * PACED_SECONDS)
    stolen = Stolen()
    uvloop.run(load.run(requests, rate, seconds=10 * PACED_SECONDS + 30))
    if load.refused:
        raise RuntimeError(f"{load.refused} of the paced requests were refused")
    return PacedRound(float(statistics.quantiles(load.acks, n=100)[98]) * 1000, stolen.share())


def paced_rounds(target: Target, ports: Sequence[int], rate: float) -> list[list[PacedRound]]:
    """Send a target's request to each port in turn, until each had `RUNS` quiet rounds or all had `MOST_PACED`."""
    rounds: list[list[PacedRound]] = [[] for _ in ports]
    for _ in range(MOST_PACED):
        for port, of_port in zip(ports, rounds, strict=True):
            of_port.append(paced_round(target, port, rate))
        if all(sum(each.stolen <= QUIET for each in of_port) >= RUNS for of_port in rounds):
            break
    return rounds


def measure(folder: Path) -> None:
    """Start everything, load it, and print what it took."""
    core, others = split_cores()
    os.sched_setaffinity(0, others)
    with ExitStack() as started:
        behind = started.enter_context(system(folder, core, others))
        targets, metrics_port = start_targets(behind, core, folder, started)
        for target in targets.values():  # the stack is undone from its end: all are asked before any is waited for
            started.callback(target.server.terminate)
        runs = compare(targets, metrics_port)
        proxied_per_s = median(runs[PROXIED, FULL], "per_s")
        proxied = targets[PROXIED]
        ports = (behind.replay, targets[PASS_THROUGH].server.port, proxied.server.port)
        paced = paced_rounds(proxied, ports, proxied_per_s / 2)
        exact = {area: decided_exactly(metrics_port, area) for area in ("analytics", "conversations")}
    print_runs(runs)
    for name in (ENVOY, NGINX):
        if name not in targets:
            print(f"{name}: not installed")
    print(
        f"limits decided over Redis: {exact['analytics']} of cache hits, {exact['conversations']} of proxied requests"
    )
    print_ratios(runs)
    added = print_paced(paced, proxied_per_s / 2)
    print_result(
        {
            "hit_vs_hello": round(ratio(runs, HIT, HELLO), 3),
            "hit_vs_envoy": round(ratio(runs, HIT, ENVOY), 3) if ENVOY in targets else None,
            "proxied_vs_passthrough": round(ratio(runs, PROXIED, PASS_THROUGH), 3),
            "proxied_vs_fastapi": round(ratio(runs, PROXIED, FASTAPI), 2),
            "p99_added_ms": round(added, 2),
            "hit_per_s": round(median(runs[HIT, FULL], "per_s")),
            "proxied_per_s": round(proxied_per_s),
        }
    )


def print_paced(paced: Sequence[Sequence[PacedRound]], rate: float) -> float:
    """Print the quietest of the paced rounds; give the p99 that the gateway adds, in milliseconds."""
    quietest = [sorted(rounds, key=lambda each: each.stolen)[:RUNS] for rounds in paced]
    straight, bare, through = ([each.p99_ms for each in rounds] for rounds in quietest)
    added = statistics.median(through) - statistics.median(straight)
    stolen = [
        f"{statistics.median(each.stolen for each in rounds):.1%}" for rounds in (*quietest, [*itertools.chain(*paced)])
    ]
    print_table(
        f"Gateway: p99 at {rate:,.0f} paced requests/s, half of its full load; medians of the quietest {RUNS} of "
        f"{len(paced[0])} rounds",
        ["", "straight to the service", "through bare aiohttp", "through the gateway", "added by the gateway"],
        [
            ["p99 ms", *(float(statistics.median(side)) for side in (straight, bare, through)), added],
            ["taken by the hypervisor", *stolen[:3], f"of all rounds: {stolen[3]}"],
        ],
    )
    return added


def print_runs(runs: Runs) -> None:
    """Print what each server did."""
    rows = []
    for (name, connections), results in runs.items():
        busy = statistics.median(result.metered * result.per_s for result in results)
        figures = [float(round(median(results, figure), 2)) for figure in ("per_s", "p50_ms", "p99_ms")]
        cpu_us = median(results, "metered") * 1e6
        rows.append([SHOWN[name], connections, *figures, cpu_us, f"{busy:.0%}"])
    columns = ["server", "connections", "per s", "p50 ms", "p99 ms", "CPU µs", "core busy"]
    print_table(f"Gateway: one worker on one core, keep-alive; medians of {RUNS}", columns, rows)


def print_ratios(runs: Runs) -> None:
    """Print how the gateway compares, at `FULL` connections, by CPU time and by rate."""
    pairs = [(HIT, HELLO), (HIT, ENVOY), (HIT, NGINX), (PROXIED, PASS_THROUGH), (PROXIED, FASTAPI)]
    rows = [
        [f"{SHOWN[ours]} ÷ {SHOWN[peer]}", ratio(runs, ours, peer), rate_ratio(runs, ours, peer)]
        for ours, peer in pairs
        if (peer, FULL) in runs
    ]
    print_table(f"Gateway: ratios at {FULL} connections", ["of", "by CPU time", "by rate"], rows)


def ratio(runs: Runs, ours: str, peer: str) -> float:
    """Give how many requests ours serves in the CPU time in which the peer serves one."""
    pairs = zip(runs[ours, FULL], runs[peer, FULL], strict=True)
    return statistics.median(theirs.metered / mine.metered for mine, theirs in pairs)


def rate_ratio(runs: Runs, ours: str, peer: str) -> float:
    """Give how many requests ours serves in the time in which the peer serves one."""
    pairs = zip(runs[ours, FULL], runs[peer, FULL], strict=True)
    return statistics.median(mine.per_s / theirs.per_s for mine, theirs in pairs)


def until_exact(metrics_port: int) -> None:
    """Wait until the gateway's limits are Redis', also after a load that was too much for that."""
    deadline = time.monotonic() + 5
    while not any(line == f"{DEGRADED}0.0" for line in metrics(metrics_port)):
        if time.monotonic() > deadline:
            raise RuntimeError("the gateway's limits are not exact: it does not use its Redis")
        time.sleep(0.05)


def metrics(port: int) -> list[str]:
    """Read the gateway's metrics, line by line."""
    return ask(port, get("/metrics")).decode().splitlines()


def decided_exactly(metrics_port: int, area: str) -> str:
    """Say how many requests of an area the gateway's limits decided over Redis."""
    lines = metrics(metrics_port)
    counts = {line: float(line.split()[-1]) for line in lines if line.startswith(LIMIT_DECISIONS % area)}
    exact = sum(count for line, count in counts.items() if 'source="redis"' in line)
    return f"{exact / sum(counts.values()):.1%}"


def median(results: list[LoadResult], figure: str) -> float:
    """Give the median of one figure of some runs."""
    return float(statistics.median(getattr(result, figure) for result in results))


def main() -> None:
    """Run the benchmark; what it started ends with it, also on Ctrl-C."""
    with tempfile.TemporaryDirectory(prefix="voice-bench-") as folder:
        measure(Path(folder))


if __name__ == "__main__":
    main()
