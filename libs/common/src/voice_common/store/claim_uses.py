"""The collection ``claim_uses``: since when each claim is watched, and when an event last matched it, to a day.

A claim that matches nothing is one that Telnyx never sends: a number in another form, an application of another
account. Its calls wait in quarantine, and nobody is told unless somebody looks here.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any, NamedTuple

from pymongo import UpdateOne

from voice_common.mongo import Database
from voice_common.numbers import looks_like
from voice_common.store.keys import within
from voice_common.store.tenants import Claim, ClaimKind
from voice_common.times import DAY_MS

CLAIM_USES = "claim_uses"
SILENT_DAYS = 7
_LOOKED_AT = 10_000

HeldClaim = tuple[str, Claim]
"""A tenant, and what it claims."""


class SilentClaim(NamedTuple):
    """A claim that has matched nothing for `SILENT_DAYS`, with quarantined numbers that look like it."""

    tenant: str
    claim: Claim
    look_alikes: tuple[str, ...]


class ClaimUses:
    """Written by whoever matches events to claims; read by who looks for claims that match nothing."""

    def __init__(self, database: Database) -> None:
        self._uses = database[CLAIM_USES]
        self._quarantine = database["quarantine"]

    async def known(self) -> set[HeldClaim]:
        """Give all claims that are watched."""
        keys = [document["_id"] async for document in self._uses.find({}, {"_id": 1})]
        return {(key["tenant"], Claim(ClaimKind(key["kind"]), key["value"])) for key in keys if key["kind"] in _KINDS}

    async def watch(self, claims: Collection[HeldClaim], *, now: int) -> None:
        """Watch claims from now on (ms)."""
        new = [{"$setOnInsert": {"watched_since": now, "matched_at": None}}]
        await self._write([UpdateOne({"_id": _key(held)}, new[0], upsert=True) for held in claims])

    async def forget(self, claims: Collection[HeldClaim]) -> None:
        """Watch claims no more: they were taken away."""
        if claims:
            await self._uses.delete_many({"_id": {"$in": [_key(held) for held in claims]}})

    async def matched(self, claims: Collection[HeldClaim], *, now: int) -> None:
        """Write down that events matched claims."""
        await self._write([UpdateOne({"_id": _key(held)}, {"$max": {"matched_at": now}}) for held in claims])

    async def silent(self, *, now: int, tenant: str | None = None) -> list[SilentClaim]:
        """Give the claims of all tenants, or of one, that have matched nothing for long; what is newer is not named."""
        before = now - SILENT_DAYS * DAY_MS
        chosen: dict[str, Any] = {
            "watched_since": {"$lt": before},
            "$or": [{"matched_at": None}, {"matched_at": {"$lt": before - DAY_MS}}],
        }
        if tenant is not None:
            chosen["_id"] = within(tenant=tenant)
        keys = [document["_id"] async for document in self._uses.find(chosen, {"_id": 1}).sort("_id", 1)]
        if not keys:
            return []
        waiting = await self._quarantined_numbers()
        return [
            SilentClaim(key["tenant"], Claim(ClaimKind(key["kind"]), key["value"]), _alike(key, waiting))
            for key in keys
            if key["kind"] in _KINDS
        ]

    async def _quarantined_numbers(self) -> list[str]:
        numbers = await self._quarantine.aggregate(
            [
                {"$match": {"claims.kind": str(ClaimKind.NUMBER)}},
                {"$limit": _LOOKED_AT},
                {"$unwind": "$claims"},
                {"$match": {"claims.kind": str(ClaimKind.NUMBER)}},
                {"$group": {"_id": "$claims.value"}},
            ]
        )
        return sorted([row["_id"] async for row in numbers])

    async def _write(self, writes: list[UpdateOne]) -> None:
        if writes:
            await self._uses.bulk_write(writes, ordered=False)


_KINDS = frozenset(ClaimKind)


def _key(held: HeldClaim) -> dict[str, str]:
    tenant, claim = held
    return {"tenant": tenant, "kind": str(claim.kind), "value": claim.value}


def _alike(key: dict[str, str], numbers: Iterable[str]) -> tuple[str, ...]:
    if key["kind"] != ClaimKind.NUMBER:
        return ()
    return tuple(number for number in numbers if number != key["value"] and looks_like(key["value"], number))


def described(silent: SilentClaim) -> str:
    """Give a silent claim in words: what it is, and what in quarantine looks like it."""
    alike = f" (in quarantine: {', '.join(silent.look_alikes)})" if silent.look_alikes else ""
    return f"{silent.claim.kind} {silent.claim.value}{alike}"
