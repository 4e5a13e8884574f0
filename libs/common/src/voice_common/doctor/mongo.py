"""Checks of MongoDB itself."""

from __future__ import annotations

from datetime import UTC
from typing import Any

from pymongo.errors import OperationFailure

from voice_common.doctor.clocks import compared
from voice_common.doctor.findings import Check, Finding, Surroundings, failed, ok, warning
from voice_common.times import to_ms

_OLDEST = (6, 0)
_LONGEST_TRANSACTION = 5


async def _version(surroundings: Surroundings) -> Finding:
    version = str((await _ask(surroundings, "buildInfo"))["version"])
    if tuple(int(part) for part in version.split(".")[:2]) < _OLDEST:
        return failed(f"MongoDB {version} is too old", "upgrade to MongoDB 6.0 or newer")
    return ok(f"MongoDB {version}")


async def _replica_set(surroundings: Surroundings) -> Finding:
    hello = await _ask(surroundings, "hello")
    if hello.get("msg") == "isdbgrid":
        return ok("a sharded cluster")
    if "setName" not in hello:
        return failed(
            "MongoDB runs alone, and transactions need a replica set",
            "start mongod with --replSet rs0 and run rs.initiate() once",
        )
    members = len(hello.get("hosts", []))
    if members == 1 and surroundings.stack is None:
        return warning(
            f"the replica set {hello['setName']} has one member: what it loses is gone", "add members until there are 3"
        )
    return ok(f"replica set {hello['setName']} with {members} member{'s' if members > 1 else ''}")


async def _transaction_lifetime(surroundings: Surroundings) -> Finding:
    name = "transactionLifetimeLimitSeconds"
    advice = f"on each mongod: --setParameter {name}={_LONGEST_TRANSACTION}"
    try:
        seconds = (await _ask(surroundings, "getParameter", **{name: 1}))[name]
    except OperationFailure:  # this user may not look, or mongos, which does not have it
        return warning(f"{name} can't be read here", f"make sure of it: {advice}")
    if seconds > _LONGEST_TRANSACTION:
        return warning(
            f"{name} is {seconds}: what a killed process had locked stays locked that long, and its calls wait", advice
        )
    return ok(f"{name} is {seconds}")


async def _clock(surroundings: Surroundings) -> Finding:
    async def read() -> int:
        return to_ms((await _ask(surroundings, "hello"))["localTime"].replace(tzinfo=UTC))

    return await compared("MongoDB", read)


async def _ask(surroundings: Surroundings, command: str, **more: int) -> dict[str, Any]:
    answer: dict[str, Any] = await surroundings.database.client.admin.command({command: 1, **more})
    return answer


CHECKS = (
    Check("MongoDB version", _version),
    Check("MongoDB replica set", _replica_set),
    Check("MongoDB transactions", _transaction_lifetime),
    Check("MongoDB clock", _clock),
)
