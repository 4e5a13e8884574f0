"""``voice token``: API tokens of tenants."""

from __future__ import annotations

from pathlib import Path

import click

from voice_common.cli import (
    CommandError,
    CommandGroup,
    common_options,
    print_json,
    print_table,
    require_tenant,
    with_store,
)
from voice_common.mongo import Database
from voice_common.store.tenants import UnknownTenantError
from voice_common.times import now_ms, render_ms, render_optional_ms
from voice_gateway import audit
from voice_gateway.areas import SCOPES
from voice_gateway.commands.durations import Duration
from voice_gateway.tokens import Token, TokenStore, UnknownTokenError


@click.group(cls=CommandGroup)
def token() -> None:
    """Issue, list and revoke API tokens.

    \b
    Examples:
      voice token issue acme --name dashboard
      voice token list acme
    """  # noqa: D301 - click's mark for lines that stay as they are


@token.command()
@click.argument("tenant")
@click.option("--name", default="", help="What the token is for.")
@click.option("--scope", "scopes", multiple=True, type=click.Choice(SCOPES), help="May be repeated; all without it.")
@click.option("--expires-in", type=Duration(), metavar="DURATION", help="90d, 12h, 30m; never without it.")
@common_options
def issue(
    tenant: str, *, name: str, scopes: tuple[str, ...], expires_in: int | None, as_json: bool, data_dir: Path | None
) -> None:
    """Print a new token of TENANT; it is shown this once.

    \b
    Example:
      voice token issue acme --name dashboard --scope analytics:read --expires-in 90d
    """  # noqa: D301 - click's mark for lines that stay as they are
    expires_at = None if expires_in is None else now_ms() + expires_in * 1000
    chosen = tuple(scope for scope in SCOPES if scope in scopes) or SCOPES

    async def work(database: Database) -> tuple[str, Token]:
        return await TokenStore(database).issue(tenant, name=name, scopes=chosen, expires_at=expires_at)

    try:
        secret, made = with_store(data_dir, work)
    except UnknownTenantError:
        message = f"There is no tenant {tenant}; create it with: voice tenant create {tenant}"
        raise CommandError(message) from None
    _note("issued", made)
    if as_json:
        print_json({"token": secret, **_shown(made)})
    else:
        click.echo(secret)


@token.command("list")
@click.argument("tenant", required=False)
@common_options
def list_(tenant: str | None, *, as_json: bool, data_dir: Path | None) -> None:
    """List tokens, of TENANT or of all; never what they are.

    \b
    Example:
      voice token list acme --json
    """  # noqa: D301 - click's mark for lines that stay as they are

    async def work(database: Database) -> list[Token]:
        if tenant is not None:
            await require_tenant(database, tenant)
        return await TokenStore(database).list(tenant)

    tokens = with_store(data_dir, work)
    if as_json:
        print_json([_shown(each) | {"revoked_at": render_optional_ms(each.revoked_at)} for each in tokens])
        return
    print_table(
        ["id", "tenant", "name", "reads", "expires", "state"],
        [
            [
                each.id,
                each.tenant,
                each.name,
                "all" if set(each.scopes) == set(SCOPES) else " ".join(s.removesuffix(":read") for s in each.scopes),
                "never" if each.expires_at is None else render_ms(each.expires_at)[:16] + "Z",
                _state(each),
            ]
            for each in tokens
        ],
        empty="There are no tokens; make one with: voice token issue TENANT",
    )


@token.command()
@click.argument("token_id", metavar="ID")
@common_options
def revoke(token_id: str, *, as_json: bool, data_dir: Path | None) -> None:
    """End the token of an ID as `voice token list` shows it; every gateway refuses it within 5 s.

    \b
    Example:
      voice token revoke 3f9c0a6d51e2b874
    """  # noqa: D301 - click's mark for lines that stay as they are

    async def work(database: Database) -> Token:
        return await TokenStore(database).revoke(token_id)

    try:
        revoked = with_store(data_dir, work)
    except UnknownTokenError:
        message = "There is no such token; find its id with: voice token list"
        raise CommandError(message) from None
    _note("revoked", revoked)
    if as_json:
        print_json(_shown(revoked) | {"revoked_at": render_optional_ms(revoked.revoked_at)})
    else:
        click.echo(f"Token {revoked.id} of {revoked.tenant} is revoked.")


def _shown(each: Token) -> dict[str, object]:
    return {
        "id": each.id,
        "tenant": each.tenant,
        "name": each.name,
        "scopes": list(each.scopes),
        "created_at": render_ms(each.created_at),
        "expires_at": render_optional_ms(each.expires_at),
    }


def _state(each: Token) -> str:
    if each.revoked_at is not None:
        return "revoked"
    return "good" if each.is_good(now_ms()) else "expired"


def _note(change: str, changed: Token) -> None:
    audit.token_changed(change, changed.tenant, changed.id, scopes=list(changed.scopes))
