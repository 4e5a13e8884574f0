"""API tokens: opaque, shown once, stored only as their SHA-256."""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass

from voice_common.mongo import Database, Document, Session, in_transaction
from voice_common.store.indexes import ensure_index
from voice_common.store.tenants import Tenant, TenantStore, UnknownTenantError
from voice_common.times import now_ms

PREFIX = "vst_"
_RANDOM_BYTES = 32
_FORM = re.compile(r"vst_[A-Za-z0-9_-]{43,128}")
_COUNTS = "token_changes"
_ID_LENGTH = 16
_ID = re.compile(r"[0-9a-f]{8,64}")


class UnknownTokenError(Exception):
    """There is no such token."""


@dataclass(frozen=True, slots=True)
class Token:
    """What is known of a token; times in milliseconds since the epoch."""

    digest: str
    tenant: str
    name: str
    scopes: tuple[str, ...]
    created_at: int
    expires_at: int | None
    revoked_at: int | None

    @property
    def id(self) -> str:
        """The short form that people and logs name it by."""
        return self.digest[:_ID_LENGTH]

    def is_good(self, now: int) -> bool:
        """Tell whether it is neither revoked nor expired at `now`."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)


def new_secret() -> str:
    """Make the text of a new token."""
    return PREFIX + base64.urlsafe_b64encode(secrets.token_bytes(_RANDOM_BYTES)).rstrip(b"=").decode()


def has_token_form(text: str) -> bool:
    """Tell whether `text` could be an API token."""
    return _FORM.fullmatch(text) is not None


def digest_of(secret: str) -> str:
    """Give the key that a token is stored under."""
    return hashlib.sha256(secret.encode()).hexdigest()


class TokenStore:
    """The collection ``api_tokens``."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._tokens = database["api_tokens"]
        self._counts = database["meta"]
        self._tenants = TenantStore(database)

    async def create_indexes(self) -> None:
        """Make the index that tokens are listed by; safe to repeat."""
        await ensure_index(self._tokens, [("tenant", 1), ("created_at", 1)], name="by_tenant")

    async def changes(self) -> dict[str, int]:
        """Give how many tokens were ever ``issued`` and ``revoked``."""
        counts = await self._counts.find_one({"_id": _COUNTS}) or {}
        return {change: int(counts.get(change, 0)) for change in ("issued", "revoked")}

    async def issue(
        self, tenant: str, *, name: str, scopes: Iterable[str], expires_at: int | None
    ) -> tuple[str, Token]:
        """Make a token of `tenant`; give its text, which is kept nowhere, and what is stored.

        Raises `UnknownTenantError`.
        """
        secret = new_secret()
        token = Token(digest_of(secret), tenant, name, tuple(scopes), now_ms(), expires_at, None)

        async def body(session: Session) -> None:
            # Writing to the tenant makes this conflict with its deletion: a token that slipped in beside one
            # would open the next tenant of the same id.
            touched = await self._database["tenants"].update_one(
                {"_id": tenant, "deleted_at": None}, {"$set": {"token_issued_at": token.created_at}}, session=session
            )
            if not touched.matched_count:
                raise UnknownTenantError(tenant)
            await self._tokens.insert_one(_to_document(token), session=session)
            await self._count("issued", session)

        await in_transaction(self._database.client, body)
        return secret, token

    async def find(self, digest: str) -> tuple[Token, Tenant] | None:
        """Give a token with its tenant, or ``None`` where either does not exist."""
        document = await self._tokens.find_one({"_id": digest})
        if document is None:
            return None
        token = _from_document(document)
        tenant = await self._tenants.find(token.tenant)
        return None if tenant is None else (token, tenant)

    async def list(self, tenant: str | None = None) -> list[Token]:
        """Give the tokens of a tenant, or all, by tenant and age."""
        query = {} if tenant is None else {"tenant": tenant}
        cursor = self._tokens.find(query).sort([("tenant", 1), ("created_at", 1)])
        return [_from_document(document) async for document in cursor]

    async def revoke(self, token_id: str) -> Token:
        """End the token of an id (or of the token's own text); raise `UnknownTokenError` without one.

        Repeating it is safe.
        """
        prefix = digest_of(token_id) if has_token_form(token_id) else token_id
        if not _ID.fullmatch(prefix):
            raise UnknownTokenError(token_id)
        found = await self._tokens.find({"_id": {"$gte": prefix, "$lt": prefix + "g"}}).limit(2).to_list()
        if len(found) != 1:
            raise UnknownTokenError(token_id)
        digest = found[0]["_id"]

        async def body(session: Session) -> Token:
            changed = await self._tokens.update_one(
                {"_id": digest, "revoked_at": None}, {"$set": {"revoked_at": now_ms()}}, session=session
            )
            if changed.matched_count:
                await self._count("revoked", session)
            after = await self._tokens.find_one({"_id": digest}, session=session)
            if after is None:
                raise UnknownTokenError(token_id)
            return _from_document(after)

        return await in_transaction(self._database.client, body)

    async def _count(self, change: str, session: Session) -> None:
        await self._counts.update_one({"_id": _COUNTS}, {"$inc": {change: 1}}, upsert=True, session=session)


def _to_document(token: Token) -> dict[str, object]:
    return {
        "_id": token.digest,
        "tenant": token.tenant,
        "name": token.name,
        "scopes": list(token.scopes),
        "created_at": token.created_at,
        "expires_at": token.expires_at,
        "revoked_at": token.revoked_at,
    }


def _from_document(document: Document) -> Token:
    return Token(
        document["_id"],
        document["tenant"],
        document["name"],
        tuple(document["scopes"]),
        document["created_at"],
        document["expires_at"],
        document["revoked_at"],
    )
