"""A database made ready for the services: collections, indexes, a role for each service, and users that have it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pymongo

from voice_common.mongo import Database
from voice_common.store.access import COLLECTIONS, ROLES, privileges_of
from voice_common.store.indexes import make_all_indexes

_LONG_SECONDS = 3600.0  # the making of an index on a large collection


@dataclass(frozen=True, slots=True)
class Provisioned:
    """What was done: new collections, new indexes by collection, and what became of each role and user."""

    collections: list[str]
    indexes: dict[str, list[str]]
    roles: dict[str, str]
    users: dict[str, str]


async def provision(database: Database, passwords: Mapping[str, str]) -> Provisioned:
    """Make what is missing and put right what differs; repeating it changes nothing but the passwords.

    `passwords` are those of the users to make, by role; a user is named as its role. Needs the rights of a
    ``dbOwner`` of the database. Raises what PyMongo raises.
    """
    with pymongo.timeout(_LONG_SECONDS):
        there = set(await database.list_collection_names())
        collections = [name for name in COLLECTIONS if name not in there]
        for name in collections:
            await database.create_collection(name, check_exists=False)
        indexes = await make_all_indexes(database)
        roles = {role: await _make_role(database, role) for role in ROLES}
        users = {role: await _make_user(database, role, password) for role, password in passwords.items()}
    return Provisioned(collections, indexes, roles, users)


async def _make_role(database: Database, role: str) -> str:
    wanted = privileges_of(role, database.name)
    found = (await database.command("rolesInfo", role, showPrivileges=True))["roles"]
    if not found:
        await database.command("createRole", role, privileges=wanted, roles=[])
        return "created"
    if _as_set(found[0]["privileges"]) == _as_set(wanted) and not found[0]["roles"]:
        return "unchanged"
    await database.command("updateRole", role, privileges=wanted, roles=[])
    return "updated"


async def _make_user(database: Database, role: str, password: str) -> str:
    roles = [{"role": role, "db": database.name}]
    found = (await database.command("usersInfo", role))["users"]
    await database.command("updateUser" if found else "createUser", role, pwd=password, roles=roles)
    return "updated" if found else "created"


def _as_set(privileges: Iterable[Mapping[str, Any]]) -> set[tuple[str, str, frozenset[str]]]:
    return {
        (privilege["resource"]["db"], privilege["resource"]["collection"], frozenset(privilege["actions"]))
        for privilege in privileges
    }
