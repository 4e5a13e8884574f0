"""Tenants, and the connections, assistants and numbers that they claim.

Every change of what the webhooks service must know about (keys, claims, existence) moves the directory's version
in the same transaction, so that a cached directory is known to be current by reading one small document.

A limit, a retention or a claim of a name that only newer code knows is skipped when it is read, and kept when a tenant
is changed: newer and older code run side by side on one store.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from voice_common.mongo import Database, Document, Session, in_transaction
from voice_common.numbers import is_withheld, normal_number
from voice_common.store.indexes import ensure_index
from voice_common.times import now_ms

DIRECTORY_MAX_AGE = 1.0
"""Seconds that a cached directory may be old, counted from the start of its look-up. Commands wait this long."""

_META = "directory"


class AreaName(StrEnum):
    """An area of the API, with a rate limit of its own."""

    ANALYTICS = "analytics"
    RECORDINGS = "recordings"
    CONVERSATIONS = "conversations"


class ClaimKind(StrEnum):
    """What a tenant can claim, in the order in which an event's tenant is looked up."""

    CONNECTION = "connection"
    ASSISTANT = "assistant"
    NUMBER = "number"


class RetentionKind(StrEnum):
    """What a tenant can have deleted when it is old enough."""

    PARTIALS = "partials"
    EVENTS = "events"
    CONVERSATIONS = "conversations"


DEFAULT_RETENTION: Mapping[RetentionKind, int | None] = {
    RetentionKind.PARTIALS: 7,
    RetentionKind.EVENTS: None,
    RetentionKind.CONVERSATIONS: None,
}
"""Days that a tenant's data is kept unless it is told otherwise; ``None`` is for ever."""


_AREAS, _RETENTION_KINDS = frozenset(AreaName), frozenset(RetentionKind)


class TenantExistsError(Exception):
    """The tenant's id is in use, or was and its data is not gone yet."""


class UnknownTenantError(Exception):
    """There is no tenant of this id."""


class ClaimTakenError(Exception):
    """Another tenant has claimed this."""

    def __init__(self, claim: Claim) -> None:
        super().__init__(f"The {claim.kind} {claim.value} is claimed by another tenant")
        self.claim = claim


@dataclass(frozen=True, slots=True, order=True)
class Claim:
    """One thing that a tenant claims; `value` is in normal form."""

    kind: ClaimKind
    value: str

    @classmethod
    def of(cls, kind: ClaimKind, value: str) -> Claim | None:
        """Make a claim of a value as a person or a provider writes it; ``None`` where it names nothing.

        A number may have spaces or dashes; one that is withheld is nobody's.
        """
        text = normal_number(value) if kind is ClaimKind.NUMBER else value.strip()
        return cls(kind, text) if text else None

    @property
    def can_match(self) -> bool:
        """Tell whether an event may ever be given to a tenant for this: ``anonymous`` is nobody's number."""
        return self.kind is not ClaimKind.NUMBER or not is_withheld(self.value)


@dataclass(frozen=True, slots=True)
class Tenant:
    """One customer: `limits` are requests a minute by area, `telnyx_public_keys` base64 of 32 bytes.

    `retention` is the days for which each kind of data is kept, ``None`` for ever.
    """

    id: str
    name: str
    limits: Mapping[AreaName, int] = field(default_factory=dict)
    telnyx_public_keys: tuple[str, ...] = ()
    claims: tuple[Claim, ...] = ()
    created_at: int = 0
    deleted_at: int | None = None
    retention: Mapping[RetentionKind, int | None] = field(default_factory=lambda: dict(DEFAULT_RETENTION))


@dataclass(frozen=True, slots=True)
class Directory:
    """All that the intake must know of tenants, at one version; `claims` are those that an event can match."""

    version: int
    tenants: Mapping[str, Tenant]
    claims: Mapping[Claim, str]


class TenantStore:
    """The collections ``tenants``, ``claims`` and the directory's version."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._tenants = database["tenants"]
        self._claims = database["claims"]
        self._meta = database["meta"]

    async def create(self, tenant: Tenant) -> Tenant:
        """Add a tenant with its claims; raise `TenantExistsError` or `ClaimTakenError` and change nothing.

        It is made now, unless it says when it was made: then it comes back from an export.
        """
        created = replace(tenant, created_at=tenant.created_at or now_ms(), deleted_at=None)

        async def body(session: Session) -> None:
            if await self._tenants.find_one({"_id": created.id}, session=session) is not None:
                raise TenantExistsError(created.id)
            await self._tenants.insert_one(_to_document(created), session=session)
            await self._claim(session, created.id, created.claims)
            await self._move_version(session)

        await in_transaction(self._database.client, body)
        return created

    async def replace(self, tenant: Tenant) -> None:
        """Change a tenant's name, limits, keys, retention and claims; raise like `create`, or `UnknownTenantError`."""

        async def body(session: Session) -> None:
            current = await self._tenants.find_one({"_id": tenant.id, "deleted_at": None}, session=session)
            if current is None:
                raise UnknownTenantError(tenant.id)
            changed = _with_unknown_names(_changeable(tenant), current)
            await self._tenants.update_one({"_id": tenant.id}, {"$set": changed}, session=session)
            await self._claims.delete_many(
                {
                    "tenant": tenant.id,
                    "_id.kind": {"$in": list(ClaimKind)},
                    "_id": {"$nin": [_claim_key(claim) for claim in tenant.claims]},
                },
                session=session,
            )
            await self._claim(session, tenant.id, tenant.claims)
            await self._move_version(session)

        await in_transaction(self._database.client, body)

    async def get(self, tenant_id: str) -> Tenant:
        """Give a tenant that is not deleted; raise `UnknownTenantError` without one."""
        document = await self._tenants.find_one({"_id": tenant_id, "deleted_at": None})
        if document is None:
            raise UnknownTenantError(tenant_id)
        return _from_document(document, await self._claims_of(tenant_id))

    async def find(self, tenant_id: str) -> Tenant | None:
        """Give a tenant without its claims, or ``None`` where there is none or it is deleted; one read."""
        document = await self._tenants.find_one({"_id": tenant_id, "deleted_at": None})
        return None if document is None else _from_document(document, ())

    async def list(self) -> list[Tenant]:
        """Give all tenants that are not deleted, by id."""
        return sorted((await self.directory()).tenants.values(), key=lambda tenant: tenant.id)

    async def retentions(self) -> dict[str, Mapping[RetentionKind, int | None]]:
        """Give the days for which each tenant that is not deleted keeps its data, by its id."""
        found = self._tenants.find({"deleted_at": None}, {"retention": 1})
        return {document["_id"]: _retention_of(document) async for document in found}

    async def mark_deleted(self, tenant_id: str) -> None:
        """End a tenant with its claims and tokens at once; its id stays taken until `forget`.

        Repeating it is safe. Raises `UnknownTenantError` where the id was never used.
        """

        async def body(session: Session) -> None:
            document = await self._tenants.find_one({"_id": tenant_id}, session=session)
            if document is None:
                raise UnknownTenantError(tenant_id)
            if document["deleted_at"] is None:
                await self._tenants.update_one({"_id": tenant_id}, {"$set": {"deleted_at": now_ms()}}, session=session)
            await self._claims.delete_many({"tenant": tenant_id}, session=session)
            await self._database["api_tokens"].delete_many({"tenant": tenant_id}, session=session)
            await self._move_version(session)

        await in_transaction(self._database.client, body)

    async def forget(self, tenant_id: str) -> None:
        """Free the id of a deleted tenant; call it when its data is gone."""
        await self._tenants.delete_one({"_id": tenant_id, "deleted_at": {"$ne": None}})

    async def version(self) -> int:
        """Give the directory's version."""
        document = await self._meta.find_one({"_id": _META})
        return 0 if document is None else int(document["version"])

    async def directory(self) -> Directory:
        """Read all tenants and claims in one snapshot."""

        async def body(session: Session) -> Directory:
            meta = await self._meta.find_one({"_id": _META}, session=session)
            claims: dict[Claim, str] = {}
            by_tenant: dict[str, list[Claim]] = {}
            async for document in self._claims.find({"_id.kind": {"$in": list(ClaimKind)}}, session=session):
                claim = _claim_of(document)
                if claim.can_match:
                    claims[claim] = document["tenant"]
                by_tenant.setdefault(document["tenant"], []).append(claim)
            tenants = {
                document["_id"]: _from_document(document, sorted(by_tenant.get(document["_id"], [])))
                async for document in self._tenants.find({"deleted_at": None}, session=session)
            }
            return Directory(0 if meta is None else int(meta["version"]), tenants, claims)

        return await in_transaction(self._database.client, body)

    async def create_indexes(self) -> None:
        """Make the collections and indexes that this store reads by; safe to repeat."""
        await ensure_index(self._claims, "tenant", name="tenant_1")
        if await self._meta.find_one({"_id": _META}) is None:
            await self._meta.update_one({"_id": _META}, {"$setOnInsert": {"version": 0}}, upsert=True)

    async def _claims_of(self, tenant_id: str) -> tuple[Claim, ...]:
        wanted = {"tenant": tenant_id, "_id.kind": {"$in": list(ClaimKind)}}
        found: AsyncIterator[dict[str, Any]] = self._claims.find(wanted)
        return tuple(sorted([_claim_of(document) async for document in found]))

    async def _claim(self, session: Session, tenant_id: str, claims: Iterable[Claim]) -> None:
        for claim in claims:
            key = _claim_key(claim)
            held = await self._claims.find_one({"_id": key}, session=session)
            if held is not None and held["tenant"] != tenant_id:
                raise ClaimTakenError(claim)
            if held is None:
                await self._claims.insert_one({"_id": key, "tenant": tenant_id}, session=session)

    async def _move_version(self, session: Session) -> None:
        await self._meta.update_one({"_id": _META}, {"$inc": {"version": 1}}, upsert=True, session=session)


def _changeable(tenant: Tenant) -> dict[str, Any]:
    return {
        "name": tenant.name,
        "limits": {str(area): figure for area, figure in tenant.limits.items()},
        "telnyx_public_keys": list(tenant.telnyx_public_keys),
        "retention": {str(kind): days for kind, days in tenant.retention.items()},
    }


def _to_document(tenant: Tenant) -> dict[str, object]:
    return {"_id": tenant.id, **_changeable(tenant), "created_at": tenant.created_at, "deleted_at": tenant.deleted_at}


def _from_document(document: Document, claims: Iterable[Claim]) -> Tenant:
    return Tenant(
        document["_id"],
        document["name"],
        {AreaName(area): figure for area, figure in document["limits"].items() if area in _AREAS},
        tuple(document["telnyx_public_keys"]),
        tuple(claims),
        document["created_at"],
        document["deleted_at"],
        _retention_of(document),
    )


def _retention_of(document: Document) -> dict[RetentionKind, int | None]:
    stored = document.get("retention", {})
    return {**DEFAULT_RETENTION, **{RetentionKind(kind): stored[kind] for kind in stored if kind in _RETENTION_KINDS}}


def _with_unknown_names(changes: dict[str, Any], current: Document) -> dict[str, Any]:
    """Keep the limits and retentions of a tenant whose names only newer code knows: they are that code's to change."""
    unknown = {
        "limits": {area: figure for area, figure in current["limits"].items() if area not in _AREAS},
        "retention": {
            kind: days for kind, days in current.get("retention", {}).items() if kind not in _RETENTION_KINDS
        },
    }
    return {**changes, **{name: {**changes[name], **kept} for name, kept in unknown.items()}}


def _claim_key(claim: Claim) -> dict[str, str]:
    return {"kind": str(claim.kind), "value": claim.value}


def _claim_of(document: Document) -> Claim:
    return Claim(ClaimKind(document["_id"]["kind"]), document["_id"]["value"])
