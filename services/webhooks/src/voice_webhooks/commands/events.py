"""``voice events``: what is in the event store and in quarantine."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import orjson

from voice_common.cli import (
    CommandError,
    CommandGroup,
    common_options,
    print_json,
    print_table,
    progress,
    require_tenant,
    with_store,
)
from voice_common.mongo import Database
from voice_common.store.conversations import CONVERSATIONS, conversation_key
from voice_common.store.envelope import UnreadableEventError, read_json
from voice_common.store.events import EVENTS, EventStore, StoredEvent
from voice_common.store.keys import pages, within
from voice_common.store.tenants import TenantStore
from voice_common.times import render_ms
from voice_webhooks.commands.archive import export_events, import_events
from voice_webhooks.commands.periods import period_of
from voice_webhooks.directory import CachedDirectory
from voice_webhooks.projection.documents import ALIASES
from voice_webhooks.projection.projection import Projection

_PAGE = 256


@click.group(cls=CommandGroup)
def events() -> None:
    """Look into the event store and the quarantine; export and import.

    \b
    Examples:
      voice events list acme --limit 10
      voice events quarantine
      voice events export backup.ndjson.gz --with-tenants
    """  # noqa: D301 - click's mark for lines that stay as they are


events.add_command(export_events)
events.add_command(import_events)


@events.command("list")
@click.argument("tenant")
@click.option("--conversation", help="Only the events of this conversation.")
@click.option("--type", "kind", help="Only events of this type.")
@click.option("--set-aside", is_flag=True, help="Only events that could not be projected, with the error.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True)
@common_options
def list_events(
    *,
    tenant: str,
    conversation: str | None,
    kind: str | None,
    set_aside: bool,
    limit: int,
    as_json: bool,
    data_dir: Path | None,
) -> None:
    """List TENANT's events by conversation.

    \b
    Examples:
      voice events list demo --limit 10
      voice events list demo --conversation 5d9d… --json
      voice events list demo --set-aside
    """  # noqa: D301 - click's mark for lines that stay as they are

    async def read(database: Database) -> list[dict[str, Any]]:
        await require_tenant(database, tenant)
        if set_aside:
            found = database["set_aside"].find({"_id": within(tenant=tenant)}).sort("_id", 1).limit(limit)
            return [{**document["_id"], **_without_id(document)} async for document in found]
        rows: list[dict[str, Any]] = []
        for stream in await _streams(database, tenant, conversation):
            async for page in EventStore(database).scan(_prefix(tenant, stream), size=_PAGE):
                rows += [_row(event) for event in page if kind in {None, event.type}]
                if len(rows) >= limit:
                    return rows[:limit]
        return rows

    rows = with_store(data_dir, read)
    if as_json:
        print_json({"events": rows})
        return
    columns = ["stream", "event", "type", "error" if set_aside else "occurred_at"]
    print_table(columns, [[str(row[column]) for column in columns] for row in rows], empty="There are no such events.")


@events.command()
@click.argument("tenant")
@click.argument("event")
@common_options
def show(*, tenant: str, event: str, as_json: bool, data_dir: Path | None) -> None:
    """Show TENANT's EVENT whole, the body as it was received.

    \b
    Example:
      voice events show acme 0ccc7b54-4df3-4bca-a65a-3da1ecc777f0
    """  # noqa: D301 - click's mark for lines that stay as they are

    async def read(database: Database) -> StoredEvent:
        found = await database[EVENTS].find_one({"_id": within(tenant=tenant), "_id.event": event})
        if found is None:
            raise CommandError(f"Tenant {tenant} has no event {event}; see: voice events list {tenant}")
        return StoredEvent.from_document(found)

    stored = with_store(data_dir, read)
    body = stored.body.decode("utf-8", "replace")
    if as_json:
        print_json({**_row(stored), "body": body})
        return
    for name, value in _row(stored).items():
        click.echo(f"{name}: {value}")
    click.echo(_indented(stored.body))


@events.command()
@click.argument("tenant")
@click.option("--conversation", help="Only the events of this conversation.")
@click.option("--since", help="Only events that occurred from this date or date-time on.")
@click.option("--until", help="Only events that occurred until this date (all of it) or before this date-time.")
@common_options
def replay(
    *, tenant: str, conversation: str | None, since: str | None, until: str | None, as_json: bool, data_dir: Path | None
) -> None:
    """Project TENANT's events again: harmless, since it is a join; it adds what was missing.

    \b
    Examples:
      voice events replay demo
      voice events replay demo --since 2025-01-15 --until 2025-01-16
    """  # noqa: D301 - click's mark for lines that stay as they are
    period = period_of(since, until)

    async def run(database: Database) -> int:
        count = 0
        await require_tenant(database, tenant)
        projection = Projection(database, CachedDirectory(TenantStore(database)))
        streams = await _streams(database, tenant, conversation)
        total = sum(
            [await database[EVENTS].count_documents({"_id": within(**_prefix(tenant, each))}) for each in streams]
        )
        with progress() as shown:
            task = shown.add_task("events", total=total)
            for stream in streams:
                async for page in EventStore(database).scan(_prefix(tenant, stream), size=_PAGE):
                    chosen = [
                        event
                        for event in page
                        if (period.start is None or event.occurred_at >= period.start)
                        and (period.end is None or event.occurred_at < period.end)
                    ]
                    await projection.project_again(chosen)
                    count += len(chosen)
                    shown.advance(task, len(page))
        return count

    count = with_store(data_dir, run)
    if as_json:
        print_json({"tenant": tenant, "replayed": count})
    else:
        click.echo(f"Projected {count} events of {tenant} again.")


@events.command()
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True)
@common_options
def quarantine(*, limit: int, as_json: bool, data_dir: Path | None) -> None:
    """List signed events that no tenant claims yet, or that can't be read, with what would release them.

    \b
    Example:
      voice events quarantine --limit 10
    """  # noqa: D301 - click's mark for lines that stay as they are

    async def read(database: Database) -> tuple[int, list[dict[str, Any]]]:
        total = await database["quarantine"].estimated_document_count()
        async for page in pages(database["quarantine"], {}, size=limit):
            return total, [_held(document) for document in page]
        return total, []

    total, rows = with_store(data_dir, read)
    if as_json:
        print_json({"total": total, "events": rows})
        return
    columns = ["received_at", "event", "type", "reason", "claims", "key"]
    shown = [{**row, "claims": ", ".join(row["claims"])} for row in rows]
    print_table(columns, [[str(row[column]) for column in columns] for row in shown], empty="The quarantine is empty.")


def _indented(body: bytes) -> str:
    """Give a body indented; one that orjson can't write (nested too deeply, too large a number) as it came."""
    try:
        return orjson.dumps(read_json(body), option=orjson.OPT_INDENT_2).decode()
    except (UnreadableEventError, orjson.JSONEncodeError):
        return body.decode("utf-8", "replace")


async def _streams(database: Database, tenant: str, conversation: str | None) -> list[str | None]:
    """Give the streams of a conversation: its own and those tied to it; ``[None]`` is all of the tenant's."""
    if conversation is None:
        return [None]
    document = await database[CONVERSATIONS].find_one({"_id": conversation_key(tenant, conversation)}, {"state.ids": 1})
    if document is None:
        raise CommandError(f"Tenant {tenant} has no conversation {conversation}")
    keys = [{"tenant": tenant, "id": id_} for id_ in document["state"]["ids"]]
    aliases = await database[ALIASES].find({"_id": {"$in": keys}}).to_list()
    tied = sorted(set(itertools.chain.from_iterable(alias["parked"] for alias in aliases)))
    return [f"session:{conversation}", *tied]


def _prefix(tenant: str, stream: str | None) -> dict[str, str]:
    return {"tenant": tenant} if stream is None else {"tenant": tenant, "stream": stream}


def _row(event: StoredEvent) -> dict[str, Any]:
    return {
        "tenant": event.tenant,
        "stream": event.stream,
        "event": event.event,
        "type": event.type,
        "occurred_at": render_ms(event.occurred_at),
        "received_at": render_ms(event.received_at),
        "key": event.key,
    }


def _held(document: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "received_at": render_ms(document["received_at"]),
        "event": document["event"],
        "type": document["type"],
        "reason": document["reason"],
        "claims": [f"{claim['kind']} {claim['value']}" for claim in document["claims"]],
        "key": document["_id"]["key"],
        "sha256": document["_id"]["sha256"],
        "body": document["body"].decode("utf-8", "replace"),
    }


def _without_id(document: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in document.items() if name != "_id"}
