"""``voice tenant``: tenants, what they claim, and their limits."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import click

from voice_common.cli import (
    CommandError,
    CommandGroup,
    WrongUsageError,
    common_options,
    print_json,
    print_table,
    progress,
    with_store,
)
from voice_common.ids import is_tenant_id
from voice_common.mongo import Database
from voice_common.store.claim_uses import SILENT_DAYS, ClaimUses, SilentClaim, described
from voice_common.store.tenants import (
    DEFAULT_RETENTION,
    DIRECTORY_MAX_AGE,
    AreaName,
    Claim,
    ClaimKind,
    ClaimTakenError,
    RetentionKind,
    Tenant,
    TenantExistsError,
    TenantStore,
    UnknownTenantError,
)
from voice_common.times import now_ms, render_ms
from voice_gateway.areas import AREAS
from voice_gateway.commands.claims import ClaimValue
from voice_gateway.commands.values import FOR_EVER, Limit, PublicKey, Retention
from voice_gateway.deletion import SETTLING, count_documents, delete_tenant

T = TypeVar("T")
_DEFAULT_LIMITS = {area.name: area.limit for area in AREAS}


_connections = click.option(
    "--connection-id", "connections", multiple=True, type=ClaimValue(ClaimKind.CONNECTION), metavar="C",
    help="Telnyx connection that is this tenant's; may be repeated.",
)  # fmt: skip
_numbers = click.option(
    "--number", "numbers", multiple=True, type=ClaimValue(ClaimKind.NUMBER), metavar="N",
    help="Phone number (E.164, as in +13125550100) or SIP URI that is this tenant's; may be repeated.",
)  # fmt: skip
_region = click.option(
    "--region", default=None, is_eager=True, metavar="CC",
    help="Country whose numbers are given without its code, as in US.",
)  # fmt: skip
_assistants = click.option(
    "--assistant-id", "assistants", multiple=True, type=ClaimValue(ClaimKind.ASSISTANT), metavar="A",
    help="Telnyx assistant that is this tenant's; may be repeated.",
)  # fmt: skip
_keys = click.option(
    "--telnyx-public-key", "keys", multiple=True, type=PublicKey(), metavar="BASE64",
    help="Key that alone signs this tenant's webhooks; may be repeated.",
)  # fmt: skip
_limits = click.option(
    "--limit", "limits", multiple=True, type=Limit(), metavar="AREA=N",
    help="Requests a minute in an area: analytics, recordings, conversations; may be repeated.",
)  # fmt: skip
_retention = click.option(
    "--retain", "retained", multiple=True, type=Retention(), metavar="KIND=DAYS",
    help="Days to keep partials (partial transcripts; 7 unless told otherwise), events or conversations, or "
    "KIND=forever; may be repeated. Conversations go by whole UTC days, and their figures stay. Fewer days count from "
    "the next run on; more days bring nothing back.",
)  # fmt: skip


@click.group(cls=CommandGroup)
def tenant() -> None:
    """Create, show, change and delete tenants.

    \b
    Examples:
      voice tenant create acme --connection-id 1494404757140276705
      voice tenant list
    """  # noqa: D301 - click's mark for lines that stay as they are


@tenant.command()
@click.argument("tenant_id", metavar="ID")
@click.option("--name", default=None, help="Name for people; the ID without it.")
@_connections
@_numbers
@_region
@_assistants
@_keys
@_limits
@_retention
@common_options
def create(  # noqa: PLR0913 - a command's options
    tenant_id: str,
    *,
    name: str | None,
    connections: tuple[Claim, ...],
    numbers: tuple[Claim, ...],
    assistants: tuple[Claim, ...],
    region: str | None,  # noqa: ARG001 - the numbers are read by it
    keys: tuple[str, ...],
    limits: tuple[tuple[AreaName, int], ...],
    retained: tuple[tuple[RetentionKind, int | None], ...],
    as_json: bool,
    data_dir: Path | None,
) -> None:
    """Create the tenant ID; it counts everywhere when this returns.

    \b
    Example:
      voice tenant create acme --name "Acme Inc" --connection-id 1494404757140276705 --limit analytics=600
    """  # noqa: D301 - click's mark for lines that stay as they are
    if not is_tenant_id(tenant_id):
        message = "A tenant id is 1 to 64 characters of a-z0-9._-, with a letter or digit at both ends"
        raise WrongUsageError(message)
    wanted = Tenant(
        tenant_id,
        tenant_id if name is None else name,
        dict(limits),
        _unique(keys),
        _unique((*connections, *numbers, *assistants)),
        retention={**DEFAULT_RETENTION, **dict(retained)},
    )

    async def work(database: Database) -> Tenant:
        made = await TenantStore(database).create(wanted)
        await _until_known_everywhere()
        return made

    made = _run(data_dir, tenant_id, work)
    _print(
        made,
        as_json=as_json,
        sentence=f"Tenant {made.id} is created; give it a token with: voice token issue {made.id}",
    )


@tenant.command("list")
@common_options
def list_(*, as_json: bool, data_dir: Path | None) -> None:
    """List all tenants.

    \b
    Example:
      voice tenant list --json
    """  # noqa: D301 - click's mark for lines that stay as they are

    async def work(database: Database) -> list[Tenant]:
        return await TenantStore(database).list()

    tenants = with_store(data_dir, work)
    if as_json:
        print_json([_shown(each) for each in tenants])
        return
    print_table(
        ["id", "name", "claims", "own keys", "created"],
        [
            [
                each.id,
                each.name,
                ", ".join(f"{claim.kind} {claim.value}" for claim in each.claims),
                str(len(each.telnyx_public_keys)),
                render_ms(each.created_at),
            ]
            for each in tenants
        ],
        empty="There are no tenants; make one with: voice tenant create ID",
    )


@tenant.command()
@click.argument("tenant_id", metavar="ID")
@common_options
def show(tenant_id: str, *, as_json: bool, data_dir: Path | None) -> None:
    """Show one tenant.

    \b
    Example:
      voice tenant show acme
    """  # noqa: D301 - click's mark for lines that stay as they are

    async def work(database: Database) -> tuple[Tenant, list[SilentClaim]]:
        found = await TenantStore(database).get(tenant_id)
        return found, await ClaimUses(database).silent(now=now_ms(), tenant=tenant_id)

    found, silent = _run(data_dir, tenant_id, work)
    if as_json:
        named = [
            {"kind": str(one.claim.kind), "value": one.claim.value, "look_alikes": list(one.look_alikes)}
            for one in silent
        ]
        print_json({**_shown(found), "silent_claims": named})
        return
    _print(found, as_json=False)
    for one in silent:
        click.echo(f"Has matched nothing for {SILENT_DAYS} days: {described(one)}", err=True)


@tenant.command()
@click.argument("tenant_id", metavar="ID")
@click.option("--name", default=None, help="New name for people.")
@_connections
@_numbers
@_region
@_assistants
@_keys
@_limits
@_retention
@click.option(
    "--remove", "removed", multiple=True, metavar="VALUE",
    help="Connection, number, assistant, public key or area (its limit) to remove; may be repeated.",
)  # fmt: skip
@common_options
def update(  # noqa: PLR0913 - a command's options
    tenant_id: str,
    *,
    name: str | None,
    connections: tuple[Claim, ...],
    numbers: tuple[Claim, ...],
    assistants: tuple[Claim, ...],
    region: str | None,  # noqa: ARG001 - the numbers are read by it
    keys: tuple[str, ...],
    limits: tuple[tuple[AreaName, int], ...],
    retained: tuple[tuple[RetentionKind, int | None], ...],
    removed: tuple[str, ...],
    as_json: bool,
    data_dir: Path | None,
) -> None:
    """Change a tenant: what is given is added or set, and what is named by --remove is taken away.

    \b
    Example:
      voice tenant update acme --number +13125550100 --limit recordings=120 --remove 1494404757140276705
      voice tenant update acme --retain conversations=90 --retain events=30
    """  # noqa: D301 - click's mark for lines that stay as they are
    if name is None and not (connections or numbers or assistants or keys or limits or retained or removed):
        message = f"Nothing is to be changed; say what, as voice tenant update {tenant_id} --help tells"
        raise WrongUsageError(message)

    async def work(database: Database) -> Tenant:
        store = TenantStore(database)
        before = await store.get(tenant_id)
        after = replace(
            _without(before, removed),
            name=before.name if name is None else name,
        )
        after = replace(
            after,
            limits={**after.limits, **dict(limits)},
            telnyx_public_keys=_unique((*after.telnyx_public_keys, *keys)),
            claims=_unique((*after.claims, *connections, *numbers, *assistants)),
            retention={**after.retention, **dict(retained)},
        )
        await store.replace(after)
        await _until_known_everywhere()
        return await store.get(tenant_id)

    changed = _run(data_dir, tenant_id, work)
    _print(changed, as_json=as_json, sentence=f"Tenant {changed.id} is changed.")


@tenant.command()
@click.argument("tenant_id", metavar="ID")
@common_options
def delete(tenant_id: str, *, as_json: bool, data_dir: Path | None) -> None:
    """Delete a tenant, its tokens, claims and data; a run that was interrupted can be repeated.

    \b
    Example:
      voice tenant delete acme
    """  # noqa: D301 - click's mark for lines that stay as they are

    async def work(database: Database) -> int:
        total = await count_documents(database, tenant_id)
        with progress() as shown:
            bar = shown.add_task("documents", total=total)
            return await delete_tenant(database, tenant_id, progress=lambda count: shown.advance(bar, count))

    deleted = _run(data_dir, tenant_id, work)
    if as_json:
        print_json({"id": tenant_id, "deleted": True, "documents": deleted})
    else:
        click.echo(f"Tenant {tenant_id} is deleted, with {deleted} documents.")


def _run(data_dir: Path | None, tenant_id: str, work: Any) -> Any:  # noqa: ANN401 - whatever the work gives
    try:
        return with_store(data_dir, work)
    except TenantExistsError:
        message = f"The tenant {tenant_id} exists already, or is deleted and its data is not gone yet"
        raise CommandError(message) from None
    except UnknownTenantError:
        message = f"There is no tenant {tenant_id}; see: voice tenant list"
        raise CommandError(message) from None
    except ClaimTakenError as error:
        message = (
            f"{error}; voice tenant list says whose it is, and voice tenant update ID --remove takes it away there"
        )
        raise CommandError(message) from None


async def _until_known_everywhere() -> None:
    """Wait until no process can hold a directory from before."""
    await asyncio.sleep(DIRECTORY_MAX_AGE + SETTLING)


def _without(before: Tenant, removed: Iterable[str]) -> Tenant:
    """Take named things away; raise `CommandError` for one that the tenant has not."""
    limits: Mapping[AreaName, int] = dict(before.limits)
    keys, claims = before.telnyx_public_keys, before.claims
    for value in removed:
        spellings = {Claim.of(kind, value) for kind in ClaimKind} | {Claim(kind, value) for kind in ClaimKind}
        if value in limits:
            limits = {area: figure for area, figure in limits.items() if area != value}
        elif value in keys:
            keys = tuple(key for key in keys if key != value)
        elif spellings & set(claims):
            claims = tuple(claim for claim in claims if claim not in spellings)
        else:
            raise CommandError(f"The tenant {before.id} has no {value}; see: voice tenant show {before.id}")
    return replace(before, limits=limits, telnyx_public_keys=keys, claims=claims)


def _unique(values: Iterable[T]) -> tuple[T, ...]:
    return tuple(dict.fromkeys(values))


def _shown(each: Tenant) -> dict[str, object]:
    return {
        "id": each.id,
        "name": each.name,
        "connection_ids": _values(each, ClaimKind.CONNECTION),
        "numbers": _values(each, ClaimKind.NUMBER),
        "assistant_ids": _values(each, ClaimKind.ASSISTANT),
        "telnyx_public_keys": list(each.telnyx_public_keys),
        "limits": {str(area): each.limits.get(area, default) for area, default in _DEFAULT_LIMITS.items()},
        "retention": {str(kind): each.retention[kind] for kind in RetentionKind},
        "created_at": render_ms(each.created_at),
    }


def _values(each: Tenant, kind: ClaimKind) -> list[str]:
    return [claim.value for claim in each.claims if claim.kind is kind]


def _print(each: Tenant, *, as_json: bool, sentence: str | None = None) -> None:
    if as_json:
        print_json(_shown(each))
    elif sentence is not None:
        click.echo(sentence)
    else:
        rows = [[name, ", ".join(map(str, value)) if isinstance(value, list) else str(value)]
                for name, value in _shown(each).items() if name not in {"limits", "retention"}]  # fmt: skip
        rows += [
            [f"limit {area}", f"{each.limits.get(area, default)} a minute"] for area, default in _DEFAULT_LIMITS.items()
        ]
        rows += [
            [f"kept {kind}", FOR_EVER if days is None else f"{days} days"]
            for kind, days in ((kind, each.retention[kind]) for kind in RetentionKind)
        ]
        print_table(["what", "value"], rows, empty="")
