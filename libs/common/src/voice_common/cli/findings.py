"""How commands show what checks found."""

from __future__ import annotations

from collections.abc import Sequence

import click

from voice_common.cli.output import print_json
from voice_common.doctor.findings import Finding, Outcome

Found = Sequence[tuple[str, Finding]]
_COLOURS = {Outcome.OK: "green", Outcome.WARNING: "yellow", Outcome.FAILED: "red"}
_WIDTH = max(map(len, Outcome)) + 2


def worst_of(found: Found) -> Outcome:
    """Give the worst outcome of some findings."""
    outcomes = {finding.outcome for _, finding in found}
    return next((outcome for outcome in reversed(Outcome) if outcome in outcomes), Outcome.OK)


def show_findings(found: Found, *, as_json: bool, **more: object) -> None:
    """Print findings by check, a line each, and below it what to do; as JSON with the worst outcome and `more`.

    Ends the command with 1 where something failed.
    """
    worst = worst_of(found)
    if as_json:
        rows = [
            {"check": name, "outcome": each.outcome, "message": each.message, "advice": each.advice or None}
            for name, each in found
        ]
        print_json({**more, "outcome": worst, "findings": rows})
    else:
        for name, each in found:
            click.echo(click.style(each.outcome.ljust(_WIDTH), fg=_COLOURS[each.outcome]) + f"{name}: {each.message}")
            if each.advice:
                click.echo(f"{'':{_WIDTH}}  {each.advice}")
        counts = [(outcome, sum(each.outcome is outcome for _, each in found)) for outcome in Outcome]
        click.echo(", ".join(f"{count} {outcome}" for outcome, count in counts))
    if worst is Outcome.FAILED:
        raise SystemExit(1)
