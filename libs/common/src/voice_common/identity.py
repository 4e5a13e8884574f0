"""The internal identity: what the gateway tells a service about who is asking.

A header value ``base64url(payload).base64url(signature)``, Ed25519 over the payload's bytes. Only the gateway
holds the private key; every service holds the public ones. It lives at most `LIFETIME` seconds and is bound
to one service, so that one service can't replay it to another.
"""

from __future__ import annotations

import base64
import binascii
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

import orjson
from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey, VerifyKey

IDENTITY_HEADER = "X-Voice-Identity"
LIFETIME = 60
_CLOCK_SKEW = 5
_UNVERIFIED = "no known key verifies the internal identity"

Check = Callable[[bytes, bytes], Awaitable[bool]]
"""Tells whether a raw public key made the signature that the bytes begin with, of the rest of them."""


class InvalidIdentityError(Exception):
    """The internal identity is missing, malformed, forged, expired or meant for another service."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who is asking: a tenant (none for a webhook) with its scopes, in one request."""

    tenant: str | None
    scopes: frozenset[str]
    request_id: str


def new_key_pair() -> tuple[str, str]:
    """Make a private and a public key, each base64 of 32 raw bytes."""
    key = SigningKey.generate()
    return base64.b64encode(bytes(key)).decode(), base64.b64encode(bytes(key.verify_key)).decode()


def public_key_of(private_key: str) -> str:
    """Give the public key (base64) that goes with a private one (base64)."""
    return base64.b64encode(bytes(SigningKey(base64.b64decode(private_key, validate=True)).verify_key)).decode()


class IdentitySigner:
    """Signs identities with the gateway's private key (base64 of 32 raw bytes)."""

    def __init__(self, private_key: str) -> None:
        self._key = SigningKey(base64.b64decode(private_key, validate=True))

    def sign(self, identity: Identity, service: str, *, now: float | None = None) -> str:
        """Give the header value that tells `service` about `identity` for the next `LIFETIME` seconds."""
        payload = orjson.dumps(
            {
                "aud": service,
                "exp": int(time.time() if now is None else now) + LIFETIME,
                "rid": identity.request_id,
                "scopes": sorted(identity.scopes),
                "tenant": identity.tenant,
            }
        )
        signature = self._key.sign(payload).signature
        return f"{_encode(payload)}.{_encode(signature)}"


class IdentityVerifier:
    """Reads identities meant for one service, signed by any of the gateway's public keys (base64)."""

    def __init__(self, public_keys: Iterable[str], service: str) -> None:
        self._keys = [VerifyKey(base64.b64decode(key, validate=True)) for key in public_keys]
        self._service = service

    def verify(self, header: str | None, *, now: float | None = None) -> Identity:
        """Give the identity of a header value; raise `InvalidIdentityError` where it is not good."""
        payload, signature = _split(header)
        if not any(_verifies(key, payload, signature) for key in self._keys):
            raise InvalidIdentityError(_UNVERIFIED)
        return self._read(payload, now)

    async def verify_by(self, check: Check, header: str | None, *, now: float | None = None) -> Identity:
        """Do as `verify`, with signatures checked by `check`."""
        payload, signature = _split(header)
        for key in self._keys:
            if await check(bytes(key), signature + payload):
                return self._read(payload, now)
        raise InvalidIdentityError(_UNVERIFIED)

    def _read(self, payload: bytes, now: float | None) -> Identity:
        fields = orjson.loads(payload)
        moment = time.time() if now is None else now
        expires_in = fields["exp"] - moment
        if fields["aud"] != self._service or not -_CLOCK_SKEW < expires_in <= LIFETIME + _CLOCK_SKEW:
            message = "the internal identity is expired or meant for another service"
            raise InvalidIdentityError(message)
        return Identity(fields["tenant"], frozenset(fields["scopes"]), fields["rid"])


def _verifies(key: VerifyKey, payload: bytes, signature: bytes) -> bool:
    try:
        key.verify(payload, signature)
    except (BadSignatureError, ValueError):
        return False
    return True


def _split(header: str | None) -> tuple[bytes, bytes]:
    try:
        payload, signature = (header or "").split(".")
        return _decode(payload), _decode(signature)
    except (ValueError, binascii.Error) as error:
        message = "the internal identity is missing or malformed"
        raise InvalidIdentityError(message) from error


def _encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
