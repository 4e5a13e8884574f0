"""``voice events export`` and ``voice events import``."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import BinaryIO

import click
import orjson
from pymongo.errors import PyMongoError
from rich.filesize import decimal

from voice_common.cli import CommandError, common_options, print_json, progress, require_tenant, with_store
from voice_common.mongo import Database
from voice_webhooks.archive.export import Export
from voice_webhooks.archive.files import STANDARD, DamagedFileError, read, written
from voice_webhooks.archive.restore import Restore, Restored
from voice_webhooks.commands.periods import period_of

_SHOWN = 20


@dataclass(slots=True)
class _Written:
    """What an export wrote; `incomplete` are tenants of which a retention deleted something."""

    events: int = 0
    lines: int = 0
    bytes: int = 0
    incomplete: list[str] = field(default_factory=list)


@click.command("export")
@click.argument("file", default=STANDARD)
@click.option("--tenant", help="Only this tenant's; default: everybody's.")
@click.option("--since", help="Only events that occurred from this date or date-time on.")
@click.option("--until", help="Only events that occurred until this date (all of it) or before this date-time.")
@click.option(
    "--with-tenants",
    is_flag=True,
    help="Also tenants, their claims and their tokens (as SHA-256); and the quarantine, unless --tenant is given.",
)
@common_options
def export_events(
    *,
    file: str,
    tenant: str | None,
    since: str | None,
    until: str | None,
    with_tenants: bool,
    as_json: bool,
    data_dir: Path | None,
) -> None:
    """Write events to FILE, or to standard output for -, as one JSON object a line.

    A FILE that ends in .gz is compressed; it is there whole or not at all, and only its owner can read it. With
    --with-tenants, an empty system that imports it has the same conversations and figures, and knows the same tokens.

    \b
    Examples:
      voice events export backup.ndjson.gz --with-tenants
      voice events export --tenant acme --since 2025-01-01 --until 2025-01-31 acme.ndjson
      voice events export --tenant acme - | grep call.hangup
    """  # noqa: D301 - click's mark for lines that stay as they are
    period = period_of(since, until)

    async def run(database: Database) -> _Written:
        if tenant is not None:
            await require_tenant(database, tenant)
        export = Export(database, None if tenant is None else [tenant], period=period, with_tenants=with_tenants)
        return await _export(export, output, listed=as_json and file == STANDARD)

    try:
        with written(file) as output:
            report = with_store(data_dir, run)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise CommandError(f"{file} can't be written: {error.strerror}; choose another place") from None
    if report.incomplete and with_tenants:
        lacking = ", ".join(report.incomplete)
        click.echo(
            f"voice: a retention deleted events or calls of {lacking}, which no export has; keep a mongodump too",
            err=True,
        )
    if file == STANDARD:
        return
    if as_json:
        print_json({"file": file, **asdict(report)})
    else:
        click.echo(f"Wrote {report.events} events, {report.lines} lines in all, to {file}.")


async def _export(export: Export, output: BinaryIO, *, listed: bool) -> _Written:
    """Write all lines; as one JSON document where they are to be `listed` so."""
    report = _Written(incomplete=await export.incomplete())
    output.write(b'{"list": [\n' if listed else b"")
    with progress() as shown:
        bar = shown.add_task("events", total=await export.count())
        async for looked_at, lines in export.pages():
            text = [orjson.dumps(line) for line in lines]
            if listed and text:
                output.write((b",\n" if report.lines else b"") + b",\n".join(text))
            else:
                output.write(b"".join(line + b"\n" for line in text))
            report.lines += len(lines)
            report.events += sum(line["kind"] == "event" for line in lines)
            report.bytes += sum(len(line) + 1 for line in text)
            shown.update(bar, advance=looked_at, description=f"events, {decimal(report.bytes)}")
    if listed:
        output.write(b"\n], " + orjson.dumps(report)[1:] + b"\n")
    return report


@click.command("import")
@click.argument("file", default=STANDARD)
@common_options
def import_events(*, file: str, as_json: bool, data_dir: Path | None) -> None:
    """Store the events of FILE, or of standard input for -, that `voice events export` wrote.

    What is there already is skipped and counted, so an import that was interrupted is simply run again. Imported
    events are projected at once, while the system runs or not. A bad line is told by its number, the others are
    stored, and the exit code is 1. The events are believed: their signatures were verified when they were received.

    \b
    Examples:
      voice events import backup.ndjson.gz
      zcat backup.ndjson.gz | grep '"tenant":"acme"' | voice events import -
    """  # noqa: D301 - click's mark for lines that stay as they are
    result = Restored()
    failure: str | None = None
    try:
        with read(file) as (lines, size, position), progress(in_bytes=True) as shown:
            bar = shown.add_task("events", total=size)

            def told(so_far: Restored) -> None:
                done = so_far.events + so_far.skipped
                shown.update(bar, completed=position(), description=f"{done} lines, {so_far.bad} bad")

            async def run(database: Database) -> None:
                nonlocal result
                restore = Restore(database, progress=told)
                result = restore.result
                await restore.run(lines)

            with_store(data_dir, run)
    except DamagedFileError as error:
        failure = f"{file}: {error}"
    except PyMongoError as error:
        failure = f"MongoDB failed ({type(error).__name__}); run the import again, it skips what is there"
    except OSError as error:
        raise CommandError(f"{file} can't be read: {error.strerror}") from None
    _report(result, failure, as_json=as_json)
    if failure is not None:
        raise CommandError(failure)
    if result.bad:
        raise SystemExit(1)


def _report(result: Restored, failure: str | None, *, as_json: bool) -> None:
    counts = {
        "events": result.events,
        "tenants": result.tenants,
        "tokens": result.tokens,
        "quarantined": result.quarantined,
        "skipped": result.skipped,
        "bad": result.bad,
    }
    if as_json:
        errors = [{"line": number, "error": reason} for number, reason in result.errors]
        print_json({**counts, "errors": errors, "failure": failure})
        return
    more = ", ".join(f"{counts[name]} {name}" for name in ("tenants", "tokens", "quarantined") if counts[name])
    click.echo(
        f"Stored {result.events} events{f' ({more} too)' if more else ''}; skipped {result.skipped} that were there; "
        f"{result.bad} bad lines."
    )
    for number, reason in result.errors[:_SHOWN]:
        click.echo(f"line {number}: {reason}", err=True)
    if result.bad > _SHOWN:
        click.echo(f"and {result.bad - _SHOWN} more; --json names them", err=True)
