"""The verifier: a process that checks the signatures which a worker sends it, many at a time, until it is left.

Two Ed25519 verifications are two fifths of what a worker does for a webhook, and it has one core: the threads of one
interpreter don't help (decision 0019). Light to import; it is started while a worker is busy.
"""

from __future__ import annotations

import signal
import socket
import struct
import sys
from collections.abc import Iterable
from contextlib import suppress
from io import BufferedRWPair
from typing import NamedTuple

from nacl.bindings import crypto_sign_open
from nacl.exceptions import BadSignatureError

_LENGTH = struct.Struct("<I")
KEY_BYTES = 32
_READY = b"\1"


class Check(NamedTuple):
    """A raw public key, and a raw signature with the message that it should be of behind it."""

    key: bytes
    signed: bytes


def is_good(check: Check) -> bool:
    """Tell whether the key made the signature (RFC 8032)."""
    try:
        crypto_sign_open(check.signed, check.key)
    except (BadSignatureError, ValueError):
        return False
    return True


def pack(checks: Iterable[Check]) -> bytes:
    """Give checks as they are sent: their length, and of each the key and, behind its length, what is signed."""
    parts: list[bytes] = []
    for key, signed in checks:
        parts += (key, _LENGTH.pack(len(signed)), signed)
    batch = b"".join(parts)
    return _LENGTH.pack(len(batch)) + batch


def unpack(batch: bytes) -> Iterable[Check]:
    """Give the checks of a batch without its length."""
    place = 0
    while place < len(batch):
        length_at = place + KEY_BYTES
        signed_at = length_at + _LENGTH.size
        (length,) = _LENGTH.unpack_from(batch, length_at)
        yield Check(batch[place:length_at], batch[signed_at : signed_at + length])
        place = signed_at + length


def main() -> None:
    """Say that it is ready, then answer each batch by a byte for each check: 1 where it is good."""
    # What stops a service stops the worker first, which goes on with what it has; its end is the end of this.
    for ignored in (signal.SIGINT, signal.SIGTERM):
        signal.signal(ignored, signal.SIG_IGN)
    with suppress(OSError), socket.socket(fileno=int(sys.argv[1])) as left, left.makefile("rwb") as worker:
        worker.write(_READY)
        worker.flush()
        while batch := _read(worker):
            worker.write(bytes(map(is_good, unpack(batch))))
            worker.flush()


def _read(stream: BufferedRWPair) -> bytes:
    """Give the next batch; nothing where the worker left, be it amid one."""
    length = stream.read(_LENGTH.size)
    if len(length) < _LENGTH.size:
        return b""
    (size,) = _LENGTH.unpack(length)
    batch = stream.read(size)
    return batch if len(batch) == size else b""


if __name__ == "__main__":
    main()
