"""Telnyx's signature: Ed25519 over ``<timestamp>|<raw body>``, at most 300 s old or ahead.

`TELNYX: https://developers.telnyx.com, "Webhook signing"`: header ``telnyx-signature-ed25519`` is base64 of
64 bytes, ``telnyx-timestamp`` Unix seconds.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from nacl.exceptions import BadSignatureError
from nacl.signing import VerifyKey

SIGNATURE_HEADER = "telnyx-signature-ed25519"
TIMESTAMP_HEADER = "telnyx-timestamp"
TOLERANCE_SECONDS = 300
_TIMESTAMP = re.compile(r"\d{1,12}", re.ASCII)
_SIGNATURE_BYTES = 64


class InvalidSignatureError(Exception):
    """The signature is missing, malformed, stale, or made by nobody that counts."""


@dataclass(frozen=True, slots=True)
class Signed:
    """A body with what was signed of it, its headers well-formed and its timestamp in tolerance."""

    message: bytes
    signature: bytes

    def verified_by(self, key: str) -> bool:
        """Tell whether `key` (base64 of 32 raw bytes) made the signature."""
        try:
            _verify_key(key).verify(self.message, self.signature)
        except (BadSignatureError, ValueError):
            return False
        return True

    def first_verifier(self, keys: Iterable[str]) -> str | None:
        """Give the first of `keys` that made the signature, or ``None``."""
        return next((key for key in keys if self.verified_by(key)), None)


def read_signed(body: bytes, signature: str | None, timestamp: str | None, *, now: float) -> Signed:
    """Read the signature's headers; `now` is in Unix seconds. Raises `InvalidSignatureError`."""
    if signature is None or timestamp is None or not _TIMESTAMP.fullmatch(timestamp):
        raise InvalidSignatureError("a header is missing or malformed")
    if abs(now - int(timestamp)) > TOLERANCE_SECONDS:
        raise InvalidSignatureError("the timestamp is out of tolerance")
    try:
        raw = base64.b64decode(signature, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidSignatureError("the signature is not base64") from error
    if len(raw) != _SIGNATURE_BYTES:
        raise InvalidSignatureError("the signature is not 64 bytes")
    return Signed(timestamp.encode() + b"|" + body, raw)


@lru_cache(maxsize=4096)
def _verify_key(key: str) -> VerifyKey:
    return VerifyKey(base64.b64decode(key, validate=True))
