"""The forms in which people have a Telnyx public key, and the one that counts: base64 of its 32 raw bytes."""

from __future__ import annotations

import base64
import binascii
import re

_RAW = 32
_HEX = re.compile(r"[0-9a-fA-F]{64}")
_PEM = re.compile(r"-----BEGIN PUBLIC KEY-----(.+?)-----END PUBLIC KEY-----", re.DOTALL)
_DER = bytes.fromhex("302a300506032b6570032100")
"""What an Ed25519 key's SubjectPublicKeyInfo begins with (RFC 8410 §4)."""


def misread_key(text: str) -> str | None:
    """Tell what is wrong with a key and how it is written right; ``None`` where it has the right form."""
    pem = _PEM.fullmatch(text.replace("\\n", "\n").strip())
    if pem is None and len(_bytes(text)) == _RAW:
        return None
    if _HEX.fullmatch(text):
        return f"it looks like hex; in base64 it is {_base64(bytes.fromhex(text))}"
    der = _bytes("".join((pem[1] if pem else text).split()))
    if der.startswith(_DER) and len(der) == len(_DER) + _RAW:
        what = "PEM" if pem else "a PEM's inside"
        return f"it looks like {what}; its raw bytes in base64 are {_base64(der.removeprefix(_DER))}"
    if pem or text.lstrip().startswith("-----BEGIN"):
        return "it looks like PEM, and of no Ed25519 public key"
    return f"it is not base64 of {_RAW} bytes"


def _bytes(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return b""


def _base64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()
