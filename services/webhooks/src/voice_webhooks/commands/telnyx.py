"""``voice telnyx``: check and set where Telnyx sends its webhooks."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import click
from pymongo.errors import PyMongoError

from voice_common.cli import (
    CommandError,
    CommandGroup,
    WrongUsageError,
    common_options,
    patience,
    print_json,
    print_table,
    with_store,
)
from voice_common.cli.findings import show_findings
from voice_common.doctor.findings import Finding, Outcome, failed, ok, warning
from voice_common.mongo import Database
from voice_common.settings import SettingsError
from voice_common.store.tenants import Claim, ClaimKind, Directory, TenantStore
from voice_webhooks.key_forms import misread_key
from voice_webhooks.telnyx_api import DEFAULT_URL, Application, NotThereError, TelnyxApi, TelnyxError
from voice_webhooks.webhook_urls import PATH, WrongUrlError, unreachable, webhook_url

_API_VERSION = "2"
_THIS_MACHINE = frozenset({"127.0.0.1", "::1", "localhost"})
_NAMES = {
    "url": "webhook URL",
    "failover_url": "failover URL",
    "api_version": "API version",
}
T = TypeVar("T")


class _WebhookUrl(click.ParamType[Any]):
    name = "url"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:  # noqa: ANN401 - click's own signature
        try:
            return webhook_url(str(value))
        except WrongUrlError as error:
            self.fail(str(error), param, ctx)


@click.group(cls=CommandGroup)
def telnyx() -> None:
    """Check and set where Telnyx sends its webhooks.

    The API key is read from VOICE_TELNYX_API_KEY, or asked for; it is never an argument, which others on this
    machine could see.

    \b
    Examples:
      voice telnyx check
      voice telnyx configure 1494404757140276705 --url https://voice.example.com
    """  # noqa: D301 - click's mark for lines that stay as they are


@telnyx.command()
@click.argument("application", required=False)
@common_options
def check(*, application: str | None, as_json: bool, data_dir: Path | None) -> None:
    """List the Call Control applications, or look at APPLICATION closely.

    Looks at its URLs, its API version, the account's public key, and whose its calls will be. Exit code 1 where
    webhooks can't arrive.

    \b
    Examples:
      voice telnyx check
      voice telnyx check 1494404757140276705 --data-dir .voice
    """  # noqa: D301 - click's mark for lines that stay as they are
    if application is None:
        _list(_ask(lambda api: api.applications()), as_json=as_json)
        return

    async def look(api: TelnyxApi) -> tuple[Application, list[tuple[str, Finding]]]:
        shown = await api.application(application)
        return shown, [*await _findings(shown), ("public key", await _key_finding(api))]

    shown, found = _ask(look)
    found.append(("tenant", _tenant_finding(shown, data_dir)))
    show_findings(found, as_json=as_json, **_shown(shown))


@telnyx.command()
@click.argument("application")
@click.option(
    "--url", "url", required=True, type=_WebhookUrl(), help=f"https://HOST of the gateway; {PATH} is added to it."
)
@click.option("--failover-url", type=_WebhookUrl(), help="Where Telnyx sends what the first does not take; else as is.")
@click.option("--yes", is_flag=True, help="Do not ask before it is changed.")
@common_options
def configure(
    *, application: str, url: str, failover_url: str | None, yes: bool, as_json: bool, data_dir: Path | None
) -> None:
    """Have Telnyx send the webhooks of APPLICATION to this system.

    Sets the webhook URL, the failover URL and the API version 2, shows first what would change, and asks.

    \b
    Examples:
      voice telnyx configure 1494404757140276705 --url https://voice.example.com
      voice telnyx configure 1494404757140276705 --url https://a.example.com --failover-url https://b.example.com --yes
    """  # noqa: D301 - click's mark for lines that stay as they are

    async def read(api: TelnyxApi) -> Application:
        return await api.application(application)

    key = _key()
    before = _ask(read, key)
    wanted = replace(before, url=url, failover_url=failover_url or before.failover_url, api_version=_API_VERSION)
    changes = _changes(before, wanted)
    if changes:
        rows = [[_NAMES[name], old or "none", new] for name, (old, new) in changes.items()]
        if not as_json:
            print_table(["of " + (before.name or before.id), "now", "then"], rows, empty="")
        if not yes:
            _confirm(before, changes, shown=not as_json)
        after = _ask(lambda api: api.update(wanted), key)
        left = _changes(after, wanted)
        if left:
            names = ", ".join(_NAMES[name] for name in left)
            raise CommandError(f"Telnyx took the change and shows another {names}; see: voice telnyx check {wanted.id}")
    tenant = _tenant_finding(wanted, data_dir)
    if as_json:
        changed = {name: {"from": old or None, "to": new} for name, (old, new) in changes.items()}
        print_json({**_shown(wanted), "changed": changed, "tenant": tenant.message})
        return
    click.echo(f"The application {wanted.id} {'sends' if changes else 'already sends'} its webhooks to {wanted.url}.")
    if tenant.outcome is not Outcome.OK:
        click.echo(f"{tenant.message}: {tenant.advice}")


def _key() -> str:
    """Read the API key; it is asked for where a person can answer."""
    key = os.environ.get("VOICE_TELNYX_API_KEY", "").strip()
    if not key and sys.stdin.isatty():
        key = str(click.prompt("Telnyx API key", hide_input=True, err=True)).strip()
    if not key:
        raise CommandError(
            "There is no Telnyx API key; set VOICE_TELNYX_API_KEY (Mission Control, Keys & Credentials, API Keys)"
        )
    if not key.isascii() or not key.isprintable() or " " in key:
        raise CommandError("VOICE_TELNYX_API_KEY has characters that no key has; copy it again, without line breaks")
    return key


def _ask(work: Callable[[TelnyxApi], Awaitable[T]], key: str | None = None) -> T:
    url = os.environ.get("VOICE_TELNYX_API_URL") or DEFAULT_URL
    parts = urlsplit(url)
    if parts.scheme != "https" and parts.hostname not in _THIS_MACHINE:
        raise WrongUsageError("VOICE_TELNYX_API_URL must be https: the API key is sent there")

    async def run(known: str) -> T:
        async with TelnyxApi(known, url=url) as api:
            return await work(api)

    key = key or _key()
    try:
        with patience("asking Telnyx"):
            return asyncio.run(run(key))
    except TelnyxError as error:
        raise CommandError(str(error)) from None


def _confirm(before: Application, changes: dict[str, tuple[str, str]], *, shown: bool) -> None:
    if not sys.stdin.isatty():
        raise CommandError(
            f"Nothing was changed at {before.id}, since nobody can be asked here; say --yes to change it"
        )
    if not shown:
        for name, (old, new) in changes.items():
            click.echo(f"{_NAMES[name]}: {old or 'none'} -> {new}", err=True)
    if not click.confirm("Change it at Telnyx?", err=True):
        raise CommandError("Nothing was changed")


def _changes(before: Application, wanted: Application) -> dict[str, tuple[str, str]]:
    """Give what differs, by name: what it is and what it should be."""
    pairs = {name: (str(getattr(before, name)), str(getattr(wanted, name))) for name in _NAMES}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


async def _findings(shown: Application) -> list[tuple[str, Finding]]:
    found = [
        (
            "active",
            ok("it is active") if shown.active else failed("it is not active", "activate it in Mission Control"),
        ),
        (_NAMES["api_version"], _version_finding(shown)),
        (_NAMES["url"], await _url_finding(shown, shown.url)),
    ]
    if shown.failover_url:
        found.append((_NAMES["failover_url"], await _url_finding(shown, shown.failover_url)))
    else:
        found.append((_NAMES["failover_url"], ok("there is none; Telnyx tries the first again")))
    return found


def _version_finding(shown: Application) -> Finding:
    if shown.api_version == _API_VERSION:
        return ok(f"it is {_API_VERSION}")
    return failed(
        f"it is {shown.api_version or 'not set'}: another envelope, another signature; all would be refused",
        _to_configure(shown),
    )


async def _url_finding(shown: Application, url: str) -> Finding:
    try:
        reads = webhook_url(url)
    except WrongUrlError as error:
        return failed(str(error) if url else "it is not set", _to_configure(shown))
    if reads != url.rstrip("/"):
        return failed(f"{url} has no path that takes webhooks", _to_configure(shown))
    reason = await unreachable(url)
    if reason is not None:
        return warning(
            f"{url}: {reason}", "see that Telnyx can reach the gateway there, with a certificate that counts"
        )
    return ok(f"{url} answers as it should")


async def _key_finding(api: TelnyxApi) -> Finding:
    """Compare the account's key with those of this environment."""
    ours = [part.strip() for part in os.environ.get("VOICE_TELNYX_PUBLIC_KEYS", "").split(",") if part.strip()]
    try:
        theirs = await api.public_key()
    except NotThereError:
        return warning(
            "Telnyx does not tell the account's public key here",
            "compare VOICE_TELNYX_PUBLIC_KEYS by hand: Mission Control, Keys & Credentials, Public Key",
        )
    if theirs in ours:
        return ok("VOICE_TELNYX_PUBLIC_KEYS has the account's")
    advice = f"set VOICE_TELNYX_PUBLIC_KEYS={theirs} for the webhooks service"
    if misread_key(theirs) is not None:
        return warning("Telnyx tells a public key of another form", "compare it by hand in Mission Control")
    if not ours:
        return warning("VOICE_TELNYX_PUBLIC_KEYS is empty in this environment", advice)
    return failed("VOICE_TELNYX_PUBLIC_KEYS lacks the account's key: its webhooks would be refused", advice)


def _tenant_finding(shown: Application, data_dir: Path | None) -> Finding:
    """Tell whose the calls of the application will be."""

    async def read(database: Database) -> Directory:
        return await TenantStore(database).directory()

    advice = f"voice tenant create ID --connection-id {shown.id} (or: voice tenant update ID …)"
    try:
        holder = with_store(data_dir, read).claims.get(Claim(ClaimKind.CONNECTION, shown.id))
    except (PyMongoError, SettingsError, CommandError) as error:
        reason = type(error).__name__ if isinstance(error, PyMongoError) else str(error)
        return warning(f"whose its calls are can't be looked up ({reason})", "name a stack with --data-dir")
    if holder is None:
        return warning("no tenant claims it: events go by assistant or number, or wait in quarantine", advice)
    return ok(f"its calls are of the tenant {holder}")


def _to_configure(shown: Application) -> str:
    return f"voice telnyx configure {shown.id} --url https://HOST"


def _list(applications: list[Application], *, as_json: bool) -> None:
    if as_json:
        print_json({"applications": [_shown(each) for each in applications]})
        return
    columns = ["id", "name", "active", *_NAMES.values()]
    rows = [
        [each.id, each.name, "yes" if each.active else "no", each.url, each.failover_url or "none", each.api_version]
        for each in applications
    ]
    print_table(columns, rows, empty="The account has no Call Control application; make one in Mission Control")


def _shown(each: Application) -> dict[str, object]:
    return {
        "id": each.id,
        "application_name": each.name,
        "active": each.active,
        "webhook_event_url": each.url,
        "webhook_event_failover_url": each.failover_url or None,
        "webhook_api_version": each.api_version,
    }
