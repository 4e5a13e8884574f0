"""Users of a local MongoDB that authenticates: one who may do everything, and one for each role of the system."""

from __future__ import annotations

import base64
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pymongo
from pymongo.errors import OperationFailure

from voice_common.mongo import connect
from voice_common.store.access import OPERATOR, ROLES
from voice_common.store.provision import provision

ADMIN = "admin"
_KEY_BYTES = 96
_SECRET_BYTES = 24
_PROVISION_SECONDS = 10.0
_REFUSED = frozenset({13, 51003})  # somebody is there already: the exception for localhost is over, or it is us
_SERVICE_OF = {"analytics-worker": "analytics"}


@dataclass(frozen=True, slots=True)
class StoreUsers:
    """The passwords by user, `ADMIN` among them, and the database in which the others are."""

    passwords: Mapping[str, str]
    database: str

    def url(self, port: int, program: str = OPERATOR) -> str:
        """Give the URL by which a program of the stack (or the operator) comes to the mongod on a port."""
        user = _SERVICE_OF.get(program, program)
        return f"mongodb://{user}:{self.passwords[user]}@127.0.0.1:{port}/?replicaSet=rs0&authSource={self.database}"

    async def make(self, port: int) -> None:
        """Make collections, indexes, roles and users; raise what PyMongo raises."""
        client = connect(admin_url(port, self.passwords[ADMIN]), timeout_seconds=_PROVISION_SECONDS)
        try:
            await provision(client[self.database], {role: self.passwords[role] for role in ROLES})
        finally:
            await client.close()


def new_passwords() -> dict[str, str]:
    """Make a password for each user."""
    return {user: secrets.token_urlsafe(_SECRET_BYTES) for user in (ADMIN, *ROLES)}


def admin_url(port: int, password: str) -> str:
    """Give the URL of the mongod on a port for the user who may do everything."""
    return f"mongodb://{ADMIN}:{password}@127.0.0.1:{port}/?replicaSet=rs0&authSource=admin"


def key_file(data: Path) -> Path:
    """Give the file with the key of the replica set's members; made beside `data` where it is not there."""
    file = data.parent / f"{data.name}.key"
    if not file.exists():
        with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o400), "w") as output:  # noqa: PTH123 - takes a descriptor
            output.write(base64.b64encode(secrets.token_bytes(_KEY_BYTES)).decode())
    return file


def make_admin(client: pymongo.MongoClient[dict[str, object]], password: str) -> None:
    """Make the first user, which MongoDB lets a client on localhost do as long as there is none."""
    try:
        client.admin.command("createUser", ADMIN, pwd=password, roles=["root"])
    except OperationFailure as error:
        if error.code not in _REFUSED:
            raise
