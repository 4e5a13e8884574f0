"""Public keys that verify JWTs, and the algorithms that go with each."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

_MIN_RSA_BITS = 2048
_RSA = ("RS256", "RS384", "RS512", "PS256")
ALGORITHMS = frozenset({*_RSA, "ES256", "EdDSA"})
_PEM = re.compile(r"-----BEGIN [A-Z ]+-----.+?-----END [A-Z ]+-----", re.DOTALL)


class UnusableKeyError(ValueError):
    """A key is of no kind that verifies JWTs here."""


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A public key and the algorithms it verifies: the key decides, never the token."""

    algorithms: tuple[str, ...]
    key: Any


def signing_key(key: object) -> SigningKey:
    """Give the algorithms that go with a public key; raise `UnusableKeyError` where none does."""
    if isinstance(key, RSAPublicKey) and key.key_size >= _MIN_RSA_BITS:
        return SigningKey(_RSA, key)
    if isinstance(key, EllipticCurvePublicKey) and isinstance(key.curve, SECP256R1):
        return SigningKey(("ES256",), key)
    if isinstance(key, Ed25519PublicKey):
        return SigningKey(("EdDSA",), key)
    raise UnusableKeyError(type(key).__name__)


def keys_in(pem: str) -> tuple[SigningKey, ...]:
    """Read public keys in PEM, one after the other; raise `ValueError` where one can't be used or there is none."""
    keys = tuple(signing_key(load_pem_public_key(block.encode())) for block in _PEM.findall(pem))
    if not keys or _PEM.sub("", pem).strip():
        message = "no public key in PEM"
        raise ValueError(message)
    return keys
