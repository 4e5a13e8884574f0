"""Who is asking: a bearer token, read strictly, becomes a principal or a refusal with a reason."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from pymongo.errors import PyMongoError

from voice_common.errors import Unavailable
from voice_common.store.tenants import AreaName, Tenant, TenantStore
from voice_gateway.breaker import Breaker
from voice_gateway.jwts import Claims, InvalidJwtError, JwtVerifier
from voice_gateway.recall import Recall
from voice_gateway.tokens import TokenStore, digest_of, has_token_form
from voice_gateway.turns import Turns

_LOOKUPS_AT_ONCE = 8
"""Look-ups of tokens that one network may have under way in a process: a refused flood leaves the pool to others."""

_BEARER = re.compile(r"bearer +([A-Za-z0-9._~+/-]+=*)", re.IGNORECASE | re.ASCII)
_JWT = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class Principal:
    """A tenant that is asking. `generation` tells it from an earlier tenant of the same id."""

    tenant: str
    generation: int
    scopes: frozenset[str]
    limits: Mapping[AreaName, int]
    token: str
    """What the log may name the token by."""


class RefusedError(Exception):
    """Authentication failed: `reason` for the log and metrics, `sent` whether there was a token at all.

    `looked_for` names the claim that a JWT lacks, or in which it is wrong.
    """

    def __init__(self, reason: str, *, sent: bool = True, looked_for: str | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.looked_for = looked_for
        self.sent = sent


@dataclass(frozen=True, slots=True)
class _Known:
    principal: Principal
    expires_at: float
    revoked: bool


class Authenticator:
    """Reads ``Authorization`` and finds out whose token it is; answers are remembered for at most 4 s."""

    def __init__(
        self,
        tokens: TokenStore,
        tenants: TenantStore,
        verifier: JwtVerifier | None,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._tokens = tokens
        self._tenant_store = tenants
        self._verifier = verifier
        self._wall = wall
        self._turns = Turns(_LOOKUPS_AT_ONCE)
        self._store = Breaker("store", clock=clock)
        self._by_digest = Recall(self._find_token, remember_absence=True, clock=clock)
        self._tenants = Recall(self._find_tenant, remember_absence=False, clock=clock)
        self._claims = Recall(self._verify, remember_absence=False, clock=clock, size=5_000)

    def known(self, headers: Sequence[str]) -> Principal | None:
        """Give the principal of a token that is known to be good, without waiting; ``None`` where that is open."""
        token = _bearer(headers)
        if token is None:
            return None
        if has_token_form(token):
            known = self._by_digest.known(digest_of(token))
            return known.principal if known is not None and not known.revoked and self._is_current(known) else None
        claims = self._claims.known(token)
        tenant = None if claims is None else self._tenants.known(claims.tenant)
        if claims is None or tenant is None or claims.expires_at <= self._wall():
            return None
        return _principal(tenant, claims.scopes, "jwt")

    async def authenticate(self, headers: Sequence[str], network: str) -> Principal:
        """Give the principal of the ``Authorization`` headers of a request from a client's network.

        Raises `RefusedError`, or `Unavailable` where the store is needed and can't be asked.
        """
        if not headers:
            raise RefusedError("missing", sent=False)
        token = _bearer(headers)
        if token is None:
            raise RefusedError("malformed")
        if has_token_form(token):
            async with self._turns.of(network):
                return await self._by_token(token)
        if self._verifier is not None and _JWT.fullmatch(token):
            return await self._by_jwt(token)
        raise RefusedError("malformed")

    async def _by_token(self, token: str) -> Principal:
        known = await self._by_digest.get(digest_of(token))
        if known is None:
            raise RefusedError("unknown")
        if known.revoked:
            raise RefusedError("revoked")
        if not self._is_current(known):
            raise RefusedError("expired")
        return known.principal

    async def _by_jwt(self, token: str) -> Principal:
        try:
            claims = await self._claims.get(token)
        except InvalidJwtError as error:
            raise RefusedError(f"jwt_{error}", looked_for=error.looked_for) from error
        if claims is None or claims.expires_at <= self._wall():
            raise RefusedError("jwt_expired")
        tenant = await self._tenants.get(claims.tenant)
        if tenant is None:
            raise RefusedError("jwt_tenant")
        return _principal(tenant, claims.scopes, "jwt")

    def _is_current(self, known: _Known) -> bool:
        return self._wall() < known.expires_at

    async def _verify(self, token: str) -> Claims | None:
        return None if self._verifier is None else await self._verifier.verify(token)

    async def _find_token(self, digest: str) -> _Known | None:
        with self._asking():
            found = await self._tokens.find(digest)
        if found is None:
            return None
        token, tenant = found
        expires_at = float("inf") if token.expires_at is None else token.expires_at / 1000
        return _Known(_principal(tenant, frozenset(token.scopes), token.id), expires_at, token.revoked_at is not None)

    async def _find_tenant(self, tenant_id: str) -> Tenant | None:
        with self._asking():
            return await self._tenant_store.find(tenant_id)

    @contextmanager
    def _asking(self) -> Iterator[None]:
        """Ask the store: its failure is a 503, and at once while it is known to be down."""
        with self._store.call() as call:
            try:
                yield
            except PyMongoError as error:
                call.failed()
                raise Unavailable from error
            call.succeeded()


def _bearer(headers: Sequence[str]) -> str | None:
    """Read the one ``Authorization`` header (RFC 6750 §2.1); ``None`` where it is anything else."""
    matched = _BEARER.fullmatch(headers[0]) if len(headers) == 1 else None
    return None if matched is None else matched[1]


def _principal(tenant: Tenant, scopes: frozenset[str], token: str) -> Principal:
    return Principal(tenant.id, tenant.created_at, scopes, tenant.limits, token)
