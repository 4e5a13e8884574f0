"""Who may do what with which collection: the one table that the roles in MongoDB are made from.

A right is a letter: r reads, i inserts, u updates, d deletes documents, x makes and drops indexes. Nobody drops a
collection or a database. Services make no indexes where ``voice admin init-db`` made them before: who may make one
can make one that deletes documents by their age. The exception is the index of a retention, which webhooks makes and
drops as tenants want it; it deletes events anyway.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

OPERATOR = "operator"
"""The role of the ``voice`` command: all that people do with tenants, tokens, events and read models."""


class Rights(NamedTuple):
    """What each service may do with a collection, in letters."""

    gateway: str = ""
    webhooks: str = ""
    analytics: str = ""
    recordings: str = ""


COLLECTIONS: Mapping[str, Rights] = {
    "tenants": Rights(gateway="r", webhooks="r", analytics="r"),
    "claims": Rights(webhooks="r"),
    "claim_uses": Rights(webhooks="riud"),
    "api_tokens": Rights(gateway="r"),
    "meta": Rights(gateway="r", webhooks="r"),
    "events": Rights(webhooks="ridx"),
    "conversations": Rights(webhooks="riud", analytics="r", recordings="r"),
    "parked": Rights(webhooks="riud"),
    "aliases": Rights(webhooks="riud"),
    "retired": Rights(webhooks="riu"),
    "quarantine": Rights(webhooks="riud"),
    "set_aside": Rights(webhooks="riud"),
    "workers": Rights(webhooks="riud"),
    "dirty_hours": Rights(webhooks="riu", analytics="rd"),
    "rollups": Rights(analytics="riud"),
    "horizons": Rights(webhooks="riu", analytics="riu"),
    "leases": Rights(webhooks="riud", analytics="riud"),
}
"""Every collection of the system."""

ROLES = (*Rights._fields, OPERATOR)

_ACTIONS = {
    "r": ("find", "listIndexes"),
    "i": ("insert",),
    "u": ("update",),
    "d": ("remove",),
    "x": ("createIndex", "dropIndex"),
}
_OPERATORS_RIGHTS = "riud"


def rights_of(role: str, collection: str) -> str:
    """Give the letters of what `role` may do with a collection of the table."""
    return _OPERATORS_RIGHTS if role == OPERATOR else str(getattr(COLLECTIONS[collection], role))


def privileges_of(role: str, database: str) -> list[dict[str, Any]]:
    """Give the privileges of `role` as MongoDB's ``createRole`` takes them."""
    privileges: list[dict[str, Any]] = [
        {
            "resource": {"db": database, "collection": collection},
            "actions": [action for letter in rights for action in _ACTIONS[letter]],
        }
        for collection in COLLECTIONS
        if (rights := rights_of(role, collection))
    ]
    if role == OPERATOR:
        privileges.append({"resource": {"db": database, "collection": ""}, "actions": ["listCollections"]})
    return privileges
