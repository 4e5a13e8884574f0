"""JWTs of a configured issuer, signed by one of its public keys; `none` and HMAC are nothing here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import jwt

from voice_gateway.claims import ClaimError, ClaimNames
from voice_gateway.public_keys import ALGORITHMS, SigningKey
from voice_gateway.signing_keys import UnknownKeyError

LEEWAY_SECONDS = 30
"""How far the issuer's clock may be from ours, for `exp`, `nbf` and `iat`."""

_NEVER = 2**53
"""Seconds since the epoch that are no time any more."""


class InvalidJwtError(Exception):
    """A JWT is no good; the text says why, `looked_for` which claim: for the log alone."""

    def __init__(self, reason: str, looked_for: str | None = None) -> None:
        super().__init__(reason)
        self.looked_for = looked_for


class _OtherKeyError(InvalidJwtError):
    """Another key can have made the signature."""


class Keys(Protocol):
    """Where public keys come from."""

    async def find(self, kid: str | None) -> Sequence[SigningKey]:
        """Give the keys that `kid` may name, one at least; raise `UnknownKeyError` without any."""


@dataclass(frozen=True, slots=True)
class Claims:
    """What a good JWT says: whose it is, what it may, and until when it is accepted (seconds since the epoch)."""

    tenant: str
    scopes: frozenset[str]
    expires_at: float


class JwtVerifier:
    """Verifies JWTs of one issuer."""

    def __init__(self, keys: Keys, *, issuer: str, audiences: Sequence[str], names: ClaimNames) -> None:
        self._keys = keys
        self._issuer = issuer
        self._audiences = list(audiences)
        self._names = names

    async def verify(self, token: str) -> Claims:
        """Give the claims of `token`; raise `InvalidJwtError` with the reason, or what `Keys.find` raises."""
        try:
            header = jwt.get_unverified_header(token)
        except (jwt.PyJWTError, ValueError, RecursionError) as error:
            raise InvalidJwtError("malformed") from error
        kid = header.get("kid")
        if "crit" in header or not (kid is None or isinstance(kid, str)):
            raise InvalidJwtError("malformed")
        algorithm = header.get("alg")
        if not isinstance(algorithm, str) or algorithm not in ALGORITHMS:  # what was sent may be unhashable
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
                algorithms=list(key.algorithms),
                issuer=self._issuer,
                audience=self._audiences,
                leeway=LEEWAY_SECONDS,
                options={"require": ["exp", "iss", "aud"]},
            )
        except jwt.ExpiredSignatureError as error:
            raise InvalidJwtError("expired", "exp") from error
        except jwt.InvalidIssuerError as error:
            raise InvalidJwtError("issuer", "iss") from error
        except jwt.InvalidAudienceError as error:
            raise InvalidJwtError("audience", "aud") from error
        except jwt.InvalidSignatureError as error:
            raise _OtherKeyError("signature") from error
        except jwt.InvalidAlgorithmError as error:
            raise _OtherKeyError("claims") from error
        except jwt.ImmatureSignatureError as error:
            raise InvalidJwtError("not_yet", "nbf or iat") from error
        except jwt.MissingRequiredClaimError as error:
            raise InvalidJwtError("missing_claim", error.claim) from error
        except (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError) as error:
            raise InvalidJwtError("claims") from error

    def _read(self, claims: dict[str, Any]) -> Claims:
        expires_at = claims["exp"]
        if isinstance(expires_at, bool) or not isinstance(expires_at, int | float) or not 0 <= expires_at < _NEVER:
            raise InvalidJwtError("claims", "exp")
        try:
            tenant, scopes = self._names.tenant_of(claims), self._names.scopes_of(claims)
        except ClaimError as error:
            raise InvalidJwtError(error.reason, error.looked_for) from error
        return Claims(tenant, scopes, float(expires_at) + LEEWAY_SECONDS)
