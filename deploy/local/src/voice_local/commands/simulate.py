"""``voice simulate``: realistic signed calls through the gateway, and the metrics that must result."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import aiohttp
import click

from voice_common.cli import CommandError, common_options, print_json, print_table, progress, read_stack, with_store
from voice_common.store.tenants import Tenant, TenantStore, UnknownTenantError
from voice_common.times import DAY_MS, now_ms, render_ms
from voice_local.datadir import DataDir, DataDirError
from voice_local.simulation import oracle
from voice_local.simulation.calls import first_day, generate
from voice_local.simulation.delivery import DeliveryError, Receipt, Signer, deliver, planned
from voice_local.simulation.parties import NoClaimsError, Parties
from voice_local.simulation.story import Event
from voice_local.storage import STORAGE

_SEEDS = 2**31


@click.command()
@click.argument("tenant")
@click.option("--calls", type=click.IntRange(1, 1_000_000), default=100, show_default=True, help="Number of calls.")
@click.option("--rate", type=click.FloatRange(0, min_open=True), help="Deliveries a second at most; default: no limit.")
@click.option("--seed", type=click.IntRange(0), help="The same seed gives the same calls on the same day.")
@click.option("--days", type=click.IntRange(1, 3650), default=7, show_default=True, help="Whole days before today.")
@click.option("--shuffle", is_flag=True, help="Send the events in any order.")
@click.option("--duplicates", type=click.FloatRange(0, 1), default=0.0, help="Share of the events that come twice.")
@common_options
def simulate(  # noqa: PLR0913 - one for each option
    *,
    tenant: str,
    calls: int,
    rate: float | None,
    seed: int | None,
    days: int,
    shuffle: bool,
    duplicates: float,
    as_json: bool,
    data_dir: Path | None,
) -> None:
    """Send realistic signed calls through a running local stack.

    They are TENANT's, which needs a connection or a number for them. Prints the metrics that must result, in all and
    for each day.

    \b
    Examples:
      voice simulate demo --calls 200
      voice simulate acme --calls 1000 --rate 200 --days 30 --shuffle --duplicates 0.3 --seed 7
    """  # noqa: D301 - click's mark for lines that stay as they are
    folder = data_dir or Path(".voice")
    base_url = str(read_stack(folder)["base_url"])
    known = _tenant(folder, tenant)
    directory = DataDir(folder)
    if seed is None:
        seed = random.randrange(_SEEDS)  # noqa: S311 - no secret
    now = now_ms()
    try:
        storage = directory.port_of(STORAGE)
        made = generate(Parties.of(known), seed=seed, count=calls, days=days, now=now, storage=storage)
        deliveries = planned(made, shuffle=shuffle, duplicates=duplicates, seed=seed)
        receipt = asyncio.run(_send(deliveries, base_url, Signer(directory.keys().telnyx), rate))
    except (NoClaimsError, DataDirError, DeliveryError) as error:
        raise CommandError(str(error)) from error
    events = sum(len(call.events) for call in made)
    start = first_day(days, now)
    report = {
        "tenant": tenant,
        "seed": seed,
        "calls": calls,
        "events": events,
        "sent": len(deliveries),
        "duplicates": len(deliveries) - events,
        "accepted": receipt.accepted,
        "duplicate": receipt.duplicate,
        "quarantined": receipt.quarantined,
        "retried": receipt.retried,
        "metrics": oracle.metrics(made),
        "timeline": oracle.timeline(made),
        "start_date": _date(start),
        "end_date": _date(start + (days - 1) * DAY_MS),
    }
    if as_json:
        print_json(report)
    else:
        _show(report)


def _tenant(folder: Path, tenant_id: str) -> Tenant:
    """Read the tenant with its claims; raise `CommandError` where the development key can't sign for it."""
    try:
        tenant = with_store(folder, lambda database: TenantStore(database).get(tenant_id))
    except UnknownTenantError:
        raise CommandError(
            f"There is no tenant {tenant_id}; make one with: voice tenant create {tenant_id} --connection-id ID"
        ) from None
    if tenant.telnyx_public_keys:
        raise CommandError(
            f"The tenant {tenant_id} has Telnyx keys of its own, so calls signed with the development key would be "
            "refused; simulate for a tenant without keys"
        )
    return tenant


async def _send(deliveries: Sequence[tuple[Event, int]], base_url: str, signer: Signer, rate: float | None) -> Receipt:
    with progress() as shown:
        bar = shown.add_task("sending", total=len(deliveries))
        async with aiohttp.ClientSession() as session:
            return await deliver(deliveries, base_url, signer, session, rate=rate, delivered=lambda: shown.advance(bar))


def _show(report: dict[str, Any]) -> None:
    metrics = report["metrics"]
    click.echo(
        f"{report['calls']} calls of {report['tenant']} (seed {report['seed']}) from {report['start_date']} to "
        f"{report['end_date']}: {report['events']} events in {report['sent']} deliveries, "
        f"{report['accepted']} accepted, {report['duplicate']} duplicates, {report['quarantined']} quarantined."
    )
    click.echo("These calls must come to:")
    sentiment = metrics["sentiment_distribution"]
    figures = {**metrics, "sentiment_distribution": ", ".join(f"{label} {count}" for label, count in sentiment.items())}
    print_table(["metric", "value"], [[name, _text(value)] for name, value in figures.items()], empty="")
    rows = [[_text(day[key]) for key in ("bucket", "call_count", "avg_duration_seconds")] for day in report["timeline"]]
    print_table(["day", "calls", "mean seconds"], rows, empty="")


def _text(value: object) -> str:
    return "none" if value is None else str(value)


def _date(ms: int) -> str:
    return render_ms(ms)[:10]
