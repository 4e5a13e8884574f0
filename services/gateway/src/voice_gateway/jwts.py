"""JWTs of a configured issuer: RS256, ES256 or EdDSA, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import jwt

from voice_common.ids import is_tenant_id
from voice_gateway.public_keys import SigningKey
from voice_gateway.signing_keys import UnknownKeyError

_NEVER = 2**53
"""Seconds since the epoch that are no time any more."""


class InvalidJwtError(Exception):
    """A JWT is no good; the text says why, for the log alone."""


class _OtherKeyError(InvalidJwtError):
    """Another key can have made the signature."""


class Keys(Protocol):
    """Where public keys come from."""

    async def find(self, kid: str | None) -> Sequence[SigningKey]:
        """Give the keys that `kid` may name, one at least; raise `UnknownKeyError` without any."""


@dataclass(frozen=True, slots=True)
class Claims:
    """What a good JWT says: whose it is, what it may, and until when (seconds since the epoch)."""

    tenant: str
    scopes: frozenset[str]
    expires_at: float


class JwtVerifier:
    """Verifies JWTs of one issuer."""

    def __init__(self, keys: Keys, *, issuer: str, audiences: Sequence[str], tenant_claim: str) -> None:
        self._keys = keys
        self._issuer = issuer
        self._audiences = list(audiences)
        self._tenant_claim = tenant_claim

    async def verify(self, token: str) -> Claims:
        """Give the claims of `token`; raise `InvalidJwtError` with the reason, or what `Keys.find` raises."""
        try:
            header = jwt.get_unverified_header(token)
        except jwt.PyJWTError as error:
            raise InvalidJwtError("malformed") from error
        kid = header.get("kid")
        if "crit" in header or not (kid is None or isinstance(kid, str)):
            raise InvalidJwtError("malformed")
        if header.get("alg") not in ("RS256", "ES256", "EdDSA"):  # no set: what was sent may be unhashable
            raise InvalidJwtError("algorithm")
        try:
            keys = await self._keys.find(kid)
        except UnknownKeyError as error:
            raise InvalidJwtError("unknown_key") from error
        return self._read(self._decode_by_any(token, keys))

    def _decode_by_any(self, token: str, keys: Sequence[SigningKey]) -> dict[str, Any]:
        *others, last = keys
        for key in others:
            try:
                return self._decode(token, key)
            except _OtherKeyError:
                continue
        return self._decode(token, last)

    def _decode(self, token: str, key: SigningKey) -> dict[str, Any]:
        try:
            return jwt.decode(
                token,
                key.key,
                algorithms=[key.algorithm],
                issuer=self._issuer,
                audience=self._audiences,
                options={"require": ["exp", "iss", "aud"], "verify_iat": False},
            )
        except jwt.ExpiredSignatureError as error:
            raise InvalidJwtError("expired") from error
        except jwt.InvalidIssuerError as error:
            raise InvalidJwtError("issuer") from error
        except jwt.InvalidAudienceError as error:
            raise InvalidJwtError("audience") from error
        except jwt.InvalidSignatureError as error:
            raise _OtherKeyError("signature") from error
        except jwt.InvalidAlgorithmError as error:
            raise _OtherKeyError("claims") from error
        except (jwt.PyJWTError, ValueError, TypeError, OverflowError) as error:
            raise InvalidJwtError("claims") from error

    def _read(self, claims: dict[str, Any]) -> Claims:
        tenant = claims.get(self._tenant_claim)
        scope = claims.get("scope", "")
        expires_at = claims["exp"]
        if not isinstance(tenant, str) or not is_tenant_id(tenant) or not isinstance(scope, str):
            raise InvalidJwtError("claims")
        if isinstance(expires_at, bool) or not isinstance(expires_at, int | float) or not 0 <= expires_at < _NEVER:
            raise InvalidJwtError("claims")
        return Claims(tenant, frozenset(scope.split(" ")) - {""}, float(expires_at))
