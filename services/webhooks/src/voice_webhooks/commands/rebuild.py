"""``voice rebuild``: read models from the event store."""

from __future__ import annotations

from pathlib import Path

import click

from voice_common.cli import common_options, print_json, progress, require_tenant, with_store
from voice_common.mongo import Database
from voice_common.store.events import EVENTS
from voice_common.store.keys import within
from voice_common.store.tenants import TenantStore
from voice_webhooks.directory import CachedDirectory
from voice_webhooks.projection.projection import Projection
from voice_webhooks.rebuild import Rebuild, Rebuilt


@click.command()
@click.option("--tenant", help="Only this tenant's; default: everybody's.")
@click.option("--restart", is_flag=True, help="Begin again instead of going on where an interrupted rebuild stopped.")
@click.option(
    "--replace-newer",
    is_flag=True,
    help="Also replace what newer code has made, after a rollback for good; without it, that is left to newer code.",
)
@common_options
def rebuild(*, tenant: str | None, restart: bool, replace_newer: bool, as_json: bool, data_dir: Path | None) -> None:
    """Make read models again from the events, while the system runs.

    These are conversations, aliases and rollups. The result is identical to what was there, unless that was wrong.

    \b
    Examples:
      voice rebuild --data-dir .voice
      voice rebuild --tenant acme --json
      voice rebuild --replace-newer
    """  # noqa: D301 - click's mark for lines that stay as they are
    rebuilt = with_store(data_dir, lambda database: _rebuild(database, tenant, restart, replace_newer))
    report = {"events": rebuilt.events, "corrected": rebuilt.corrected, "left_to_newer": rebuilt.left_to_newer}
    if as_json:
        print_json(report)
    else:
        corrected = sum(rebuilt.corrected.values())
        click.echo(f"Projected {rebuilt.events} events; {corrected} documents were not what their events say.")
        if rebuilt.left_to_newer:
            click.echo(
                f"{rebuilt.left_to_newer} documents were made by newer code and are left to it; "
                "after a rollback for good: voice rebuild --replace-newer",
                err=True,
            )


async def _rebuild(
    database: Database,
    tenant: str | None,
    restart: bool,  # noqa: FBT001 - as the options are
    replaces_newer: bool,  # noqa: FBT001 - as the options are
) -> Rebuilt:
    if tenant is not None:
        await require_tenant(database, tenant)
    chosen = {"_id": within(tenant=tenant)} if tenant else {}
    count = (
        await database[EVENTS].count_documents(chosen) if tenant else await database[EVENTS].estimated_document_count()
    )
    with progress() as shown:
        tasks = {"events": shown.add_task("events", total=count)}

        def advanced(phase: str, size: int) -> None:
            if phase not in tasks:
                tasks[phase] = shown.add_task(phase, total=None)
            shown.advance(tasks[phase], size)

        projection = Projection(database, CachedDirectory(TenantStore(database)), replaces_newer=replaces_newer)
        return await Rebuild(database, projection, tenant=tenant, progress=advanced).run(restart=restart)
