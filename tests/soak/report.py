"""What a run survived, as a table for people and as JSON for programs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from soak.run import Survived
from voice_common.cli import print_table


def document(runs: Sequence[Survived]) -> dict[str, Any]:
    """Give the runs as one JSON document."""
    return {
        "clean": not any(run.ledger.violations for run in runs),
        "runs": [_run(run) for run in runs],
    }


def show(runs: Sequence[Survived]) -> None:
    """Print the runs as tables."""
    for run in runs:
        told = _run(run)
        print_table(
            [f"seed {run.seed}, {run.nodes} mongod", "value"],
            [[name, str(told[name])] for name in ("seconds", "tenants", "calls", "events", "deliveries", "reads")]
            + [["calm moments", f"{len(run.calm)}, exact after {max(run.calm, default=0):.1f} s at most"]]
            + [["slowest answer", ", ".join(f"{who} {took:.1f} s" for who, took in told["slowest"].items())]]
            + [["serving again", f"{max((took for _, took in run.outages), default=0):.1f} s at most"]],
            empty="",
        )
        print_table(
            ["fault survived", "times"], [[name, str(count)] for name, count in told["faults"].items()], empty=""
        )
        print_table(
            ["client", "answers"],
            [
                [who, ", ".join(f"{status}: {count}" for status, count in some.items())]
                for who, some in told["answers"].items()
            ],
            empty="",
        )
        rows = [[rule, str(count)] for rule, count in told["violations"].items()]
        print_table(["violation", "times"], rows, empty="No violation.")
        for example in run.ledger.examples:
            print_table([example], [], empty="")


def _run(run: Survived) -> dict[str, Any]:
    ledger = run.ledger
    answers: dict[str, dict[str, int]] = {}
    for (client, status), count in sorted(ledger.answers.items()):
        answers.setdefault(client, {})[status] = count
    return {
        "seed": run.seed,
        "nodes": run.nodes,
        "seconds": round(run.seconds, 1),
        "tenants": sum(bool(calls) for calls in ledger.begun.values()),
        "calls": sum(len(calls) for calls in ledger.begun.values()),
        "events": len(ledger.known),
        "deliveries": sum(answers.get("webhook", {}).values()),
        "reads": sum(answers.get("reader", {}).values()),
        "answers": answers,
        "faults": dict(sorted(run.faults.items())),
        "calm_seconds": [round(took, 1) for took in run.calm],
        "slowest": {client: round(took, 2) for client, took in sorted(ledger.slowest.items())},
        "violations": dict(ledger.violations),
        "examples": ledger.examples,
    }
