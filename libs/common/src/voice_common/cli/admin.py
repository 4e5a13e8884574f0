"""``voice admin``: what is done to the database before the services run, by somebody who may."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path

import click

from voice_common.cli.options import CommandError, CommandGroup, WrongUsageError, common_options
from voice_common.cli.output import print_json, print_table
from voice_common.cli.store import with_store
from voice_common.store.access import ROLES
from voice_common.store.indexes import UNAUTHORIZED

PASSWORD_VARIABLE = "VOICE_MONGO_PASSWORD_"  # noqa: S105 - the beginning of variables' names, no password


@click.group(cls=CommandGroup)
def admin() -> None:
    """Make the database ready for the services.

    \b
    Example:
      voice admin init-db
    """  # noqa: D301 - click's mark for lines that stay as they are


@admin.command("init-db")
@click.option("--ask-passwords", is_flag=True, help="Ask for the password of each user that no variable names.")
@common_options
def init_db(*, ask_passwords: bool, as_json: bool, data_dir: Path | None) -> None:
    """Make collections, indexes and a role for each service.

    Safe to repeat: what is there stays, what differs is put right. Needs a user with the role dbOwner of the database.

    The roles are gateway, webhooks, analytics, recordings, and operator for the voice command. A user of the same
    name is made for each role that has a password in VOICE_MONGO_PASSWORD_GATEWAY, …_OPERATOR (the role's name in
    capitals), or that one is typed for with --ask-passwords; one that is there gets the new password.

    \b
    Examples:
      voice admin init-db
      voice admin init-db --ask-passwords
      VOICE_MONGO_PASSWORD_GATEWAY=… voice admin init-db --json
    """  # noqa: D301 - click's mark for lines that stay as they are
    from pymongo.errors import OperationFailure  # noqa: PLC0415 - see the package

    from voice_common.store.provision import provision  # noqa: PLC0415 - see the package

    passwords = _passwords(ask=ask_passwords)
    try:
        done = with_store(data_dir, lambda database: provision(database, passwords))
    except OperationFailure as error:
        if error.code != UNAUTHORIZED:
            raise
        raise CommandError(
            "MongoDB does not let this user make indexes, roles or users; use one with the role dbOwner of the database"
        ) from error
    if as_json:
        print_json(asdict(done))
        return
    rows = [
        *[["collection", name, "created"] for name in done.collections],
        *[["index", f"{collection}.{name}", "created"] for collection, names in done.indexes.items() for name in names],
        *[["role", name, outcome] for name, outcome in done.roles.items()],
        *[["user", name, outcome] for name, outcome in done.users.items()],
    ]
    print_table(["what", "name", "outcome"], rows, empty="nothing to do")


def _passwords(*, ask: bool) -> dict[str, str]:
    """Give the passwords by role: never from the command line, which every process of the machine can read."""
    passwords = {}
    for role in ROLES:
        variable = PASSWORD_VARIABLE + role.upper()
        password = os.environ.get(variable)
        if password == "":
            raise WrongUsageError(f"{variable} is empty; give it a password, or do not set it")
        if password is None and ask:
            password = click.prompt(
                f"Password of {role} (empty: no user)", default="", show_default=False, hide_input=True, err=True
            )
        if password:
            passwords[role] = password
    return passwords
