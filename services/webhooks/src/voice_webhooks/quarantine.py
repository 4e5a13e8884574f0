"""Quarantine: signed events that nobody claims yet, or that can't be read.

A document's key is the verifying key and the body's SHA-256, so a body sent again is kept once.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from voice_common.mongo import DURABLE, Database
from voice_common.store.envelope import Envelope, read_envelope
from voice_common.store.indexes import ensure_index
from voice_common.store.tenants import Claim, ClaimKind
from voice_webhooks.tenancy import claims_of
from voice_webhooks.ties import Named

UNCLAIMED = "no tenant is known for it"
_QUARANTINE = "quarantine"
_KINDS = frozenset(ClaimKind)


@dataclass(frozen=True, slots=True)
class Held:
    """An unclaimed event in quarantine, without its body."""

    id: Mapping[str, str]
    claims: tuple[Claim, ...]
    named: Named


class Quarantine:
    """The collection ``quarantine``."""

    def __init__(self, database: Database) -> None:
        self._quarantine = database.get_collection(_QUARANTINE, write_concern=DURABLE)

    async def create_indexes(self) -> None:
        """Make the indexes by which released events are found; safe to repeat."""
        await ensure_index(self._quarantine, [("reason", 1), ("_id", 1)], name="by_reason")
        await ensure_index(self._quarantine, "claims", name="by_claim")
        await ensure_index(self._quarantine, "ids", name="by_tie")
        await ensure_index(self._quarantine, "session", name="by_session")

    async def keep(self, body: bytes, key: str, envelope: Envelope | None, reason: str, *, received_at: int) -> bool:
        """Keep a signed body durably; one that is there already stays as it is. Tell whether it is new."""
        document = {
            "reason": reason,
            "received_at": received_at,
            "body": body,
            "event": envelope.event if envelope else None,
            "type": envelope.type if envelope else None,
            "session": envelope.session if envelope else None,
            "ids": sorted(envelope.ids) if envelope else [],
            "claims": [_claim_document(claim) for claim in claims_of(envelope)] if envelope else [],
        }
        id_ = {"key": key, "sha256": hashlib.sha256(body).hexdigest()}
        done = await self._quarantine.update_one({"_id": id_}, {"$setOnInsert": document}, upsert=True)
        return not done.matched_count

    async def unclaimed(self, *, after: Mapping[str, str] | None, limit: int) -> list[Held]:
        """Give up to `limit` events that wait for a tenant, by id, from the one after `after`."""
        chosen: dict[str, Any] = {"reason": UNCLAIMED}
        if after is not None:
            chosen["_id"] = {"$gt": after}
        found = self._quarantine.find(chosen, {"body": 0}).sort("_id", 1).limit(limit)
        return [_held(document) async for document in found]

    async def claimed_by(
        self, claims: Collection[Claim], *, after: Mapping[str, str] | None = None, limit: int
    ) -> list[Held]:
        """Give up to `limit` events that wait for one of `claims`, by id, from the one after `after`."""
        return await self._page({"claims": {"$in": [_claim_document(claim) for claim in claims]}}, after, limit)

    async def naming(
        self, ids: Collection[str], sessions: Collection[str], *, after: Mapping[str, str] | None = None, limit: int
    ) -> list[Held]:
        """Give up to `limit` events that wait for a tenant and name one of some ids or sessions, as `claimed_by`."""
        named = [{"ids": {"$in": list(ids)}}, {"session": {"$in": list(sessions)}}]
        return await self._page({"$or": named}, after, limit)

    async def _page(self, chosen: dict[str, Any], after: Mapping[str, str] | None, limit: int) -> list[Held]:
        beyond = {} if after is None else {"_id": {"$gt": after}}
        found = self._quarantine.find({**chosen, **beyond, "reason": UNCLAIMED}, {"body": 0})
        return [_held(document) async for document in found.sort("_id", 1).limit(limit)]

    async def bodies(self, ids: Sequence[Mapping[str, str]]) -> AsyncIterator[tuple[Mapping[str, str], bytes, int]]:
        """Give each of some events that is still there: its id, its body, and when it was received (ms)."""
        async for document in self._quarantine.find({"_id": {"$in": list(ids)}}, {"body": 1, "received_at": 1}):
            yield document["_id"], document["body"], document["received_at"]

    async def renew_sip_claims(self) -> None:
        """Give events that older code keeps by SIP addresses without dots the claims that they have now."""
        bounds = {"$gte": {"kind": str(ClaimKind.NUMBER), "value": "sip"}, "$lt": {"kind": "number", "value": "sip~"}}
        async for document in self._quarantine.find({"reason": UNCLAIMED, "claims": {"$elemMatch": bounds}}):
            envelope = read_envelope(document["body"], received_at=document["received_at"])
            renewed = [_claim_document(claim) for claim in claims_of(envelope)]
            if renewed != document["claims"]:
                await self._quarantine.update_one({"_id": document["_id"]}, {"$set": {"claims": renewed}})

    async def remove(self, ids: Sequence[Mapping[str, str]]) -> None:
        """Remove events that are durable in the event store."""
        await self._quarantine.delete_many({"_id": {"$in": list(ids)}})

    async def count_unclaimed(self) -> int:
        """Count the events that wait for a tenant."""
        return await self._quarantine.count_documents({"reason": UNCLAIMED})


def _held(document: Mapping[str, Any]) -> Held:
    known = [claim for claim in document["claims"] if claim["kind"] in _KINDS]  # newer code may know more kinds
    claims = tuple(Claim(ClaimKind(claim["kind"]), claim["value"]) for claim in known)
    named = Named(document["session"], frozenset(document["ids"]), document["_id"]["key"])
    return Held(document["_id"], claims, named)


def _claim_document(claim: Claim) -> dict[str, str]:
    return {"kind": str(claim.kind), "value": claim.value}
