"""``voice doctor``: is everything as it must be, and if not, what to do."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from importlib.metadata import entry_points
from pathlib import Path
from urllib.parse import urlsplit

import click
import pymongo
from pymongo.errors import ConfigurationError, OperationFailure, PyMongoError

from voice_common.cli.at_work import patience
from voice_common.cli.findings import Found, show_findings
from voice_common.cli.options import WrongUsageError, common_options
from voice_common.cli.store import REACHED_SECONDS, stack_of
from voice_common.doctor.findings import Check, Finding, Outcome, Surroundings, failed, ok, warning
from voice_common.mongo import connect, ping
from voice_common.settings import SettingsError, StoreSettings, load
from voice_common.store.indexes import UNAUTHORIZED

_STORE_SECONDS = 5
_CHECK_SECONDS = 30


@click.command()
@click.option(
    "--service", "services", multiple=True, metavar="NAME",
    help="Only what this service needs, and the stores; may be repeated. All that is installed here without it.",
)  # fmt: skip
@common_options
def doctor(*, services: tuple[str, ...], as_json: bool, data_dir: Path | None) -> None:
    """Check configuration, stores and services, and say what to do.

    Nothing is changed. The exit code is 1 where something failed, and 0 where there are at most warnings.

    \b
    Examples:
      voice doctor --data-dir .voice           (a running local stack)
      voice doctor --service webhooks          (in the environment of that service)
      voice doctor --json
    """  # noqa: D301 - click's mark for lines that stay as they are
    checks = _checks(services)
    with patience("looking at everything"):
        found = asyncio.run(_examine(checks, data_dir))
    show_findings(found, as_json=as_json)


def _checks(services: Sequence[str]) -> list[Check]:
    points = sorted(entry_points(group="voice.checks"), key=lambda point: (point.name != "common", point.name))
    names = [point.name for point in points if point.name != "common"]
    for service in services:
        if service not in names:
            raise WrongUsageError(f"There is no service {service} here; there is {', '.join(names)}")
    chosen = [point for point in points if not services or point.name in {"common", *services}]
    return [check for point in chosen for check in point.load()]


async def _examine(checks: Sequence[Check], data_dir: Path | None) -> Found:
    stack = stack_of(data_dir)
    try:
        settings = load(StoreSettings)
        url = settings.mongo_url if stack is None else str(stack["mongo_url"])
        client = connect(url, timeout_seconds=_STORE_SECONDS)
    except SettingsError as error:
        return [("configuration", failed(str(error), "set it as the README's table says"))]
    except (ConfigurationError, ValueError):
        form = "mongodb://HOST:27017/?replicaSet=rs0"
        return [("configuration", failed("VOICE_MONGO_URL is no MongoDB URL", f"write it as {form}"))]
    try:
        surroundings = Surroundings(client[settings.mongo_database], stack)
        reached = await _reach(surroundings, urlsplit(url).netloc.rpartition("@")[2])
        answers = reached.outcome is Outcome.OK
        return [
            ("MongoDB", reached),
            *[(check.name, await _look(check, surroundings)) for check in checks if answers or not check.needs_store],
        ]
    finally:
        await client.close()


async def _reach(surroundings: Surroundings, hosts: str) -> Finding:
    try:
        with pymongo.timeout(REACHED_SECONDS):
            await ping(surroundings.database)
    except PyMongoError as error:
        return failed(
            f"{hosts} does not answer, or refuses us ({type(error).__name__}); what needs it is left out here",
            "start it, or put VOICE_MONGO_URL right: host, user, password, replica set's name",
        )
    return ok(f"{hosts} answers")


async def _look(check: Check, surroundings: Surroundings) -> Finding:
    try:
        async with asyncio.timeout(_CHECK_SECONDS):
            return await check.look(surroundings)
    except OperationFailure as error:
        if error.code == UNAUTHORIZED:
            return warning("this user may not look", "use a user with the role operator: voice admin init-db --help")
        return failed(f"MongoDB refuses ({(error.details or {}).get('codeName', error.code)})", "see MongoDB's log")
    except (PyMongoError, TimeoutError) as error:
        return failed(
            f"could not be looked at ({type(error).__name__})", "see whether the user may read, and try again"
        )
