"""Telnyx's signature: Ed25519 over ``<timestamp>|<raw body>``, at most 300 s old or ahead.

`TELNYX: https://developers.telnyx.com, "Webhook signing"`: header ``telnyx-signature-ed25519`` is base64 of
64 bytes, ``telnyx-timestamp`` Unix seconds.
"""

from __future__ import annotations

import base64
import binascii
import re
from functools import lru_cache

SIGNATURE_HEADER = "telnyx-signature-ed25519"
TIMESTAMP_HEADER = "telnyx-timestamp"
TOLERANCE_SECONDS = 300
_TIMESTAMP = re.compile(r"\d{1,12}", re.ASCII)
_SIGNATURE_BYTES = 64


class InvalidSignatureError(Exception):
    """The signature is missing, malformed, stale, or made by nobody that counts."""


def read_signed(body: bytes, signature: str | None, timestamp: str | None, *, now: float) -> bytes:
    """Give the raw signature with what it should be of behind it; `now` is in Unix seconds.

    Raises `InvalidSignatureError` where a header is malformed or the timestamp out of tolerance.
    """
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
    return b"".join((raw, timestamp.encode(), b"|", body))


@lru_cache(maxsize=4096)
def raw_key(key: str) -> bytes:
    """Give the raw bytes of a public key (base64); none where it is malformed, and so made no signature."""
    try:
        return base64.b64decode(key, validate=True)
    except ValueError:
        return b""
