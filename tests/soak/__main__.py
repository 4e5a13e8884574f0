"""``python -m soak``: survive a seeded schedule of faults for as long as asked; exit 1 where anything was wrong."""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser

import uvloop

from soak.report import document, show
from soak.run import Survived, run
from soak.schedule import plan

_LONGEST = 12.0
_RATE = 60.0


def main() -> int:
    """Run on one mongod, then on a replica set of three, half of the time each; or on what `--nodes` says."""
    parser = ArgumentParser(prog="soak", description=__doc__)
    parser.add_argument("--seconds", type=float, default=1200.0)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--nodes", type=int, choices=(1, 3), action="append", help="mongods (default: 1, then 3)")
    parser.add_argument("--rate", type=float, default=_RATE, help="deliveries a second")
    asked = parser.parse_args()
    variants = asked.nodes or [1, 3]
    seconds = asked.seconds / len(variants)
    survived: list[Survived] = []
    for nodes in variants:
        steps = plan(asked.seed, seconds, nodes=nodes, longest=min(_LONGEST, seconds / 12))
        survived.append(uvloop.run(run(asked.seed, steps, nodes=nodes, seconds=seconds, rate=asked.rate)))
    show(survived)
    told = document(survived)
    sys.stdout.write(json.dumps(told) + "\n")
    return 0 if told["clean"] else 1


if __name__ == "__main__":
    sys.exit(main())
