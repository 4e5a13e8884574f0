"""Bodies that come coded: decoded in bounded memory, and only once their signature is known to be good.

Content codings by RFC 9110 §8.4: gzip (and x-gzip), deflate (zlib's, and the raw one that some send), br, identity.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable

import brotli  # type: ignore[import-untyped]

from voice_common.errors import ContentTooLarge

_GZIP, _ZLIB, _RAW = 16 + zlib.MAX_WBITS, zlib.MAX_WBITS, -zlib.MAX_WBITS
_MOST_CODINGS = 4


class UnreadableCodingError(Exception):
    """A coding is unknown, or the body is none of it; the text says which."""


def codings_of(headers: Iterable[str]) -> tuple[str, ...]:
    """Give the codings of a body that ``Content-Encoding`` headers name, in the order in which they were applied."""
    names = [name.strip().lower() for header in headers for name in header.split(",")]
    return tuple(name for name in names if name not in {"", "identity"})


def decoded(body: bytes, codings: tuple[str, ...], *, largest: int) -> bytes:
    """Undo codings, the last one first.

    Raises `ContentTooLarge` where more than `largest` bytes come out at any step, and `UnreadableCodingError`.
    """
    if len(codings) > _MOST_CODINGS:
        raise UnreadableCodingError(f"it has more than {_MOST_CODINGS} content codings")
    for coding in reversed(codings):
        decode = _DECODERS.get(coding)
        if decode is None:
            raise UnreadableCodingError("its content coding is not known")
        try:
            body = decode(body, largest + 1)
        except (zlib.error, brotli.error, EOFError):
            raise UnreadableCodingError(f"it is not {coding}, as it says") from None
        if len(body) > largest:
            raise ContentTooLarge
    return body


def _gunzip(body: bytes, most: int) -> bytes:
    """Decode one member after the other, as many as there are."""
    whole = bytearray()
    while body and len(whole) < most:
        member = zlib.decompressobj(_GZIP)
        whole += member.decompress(body, most - len(whole))
        if not member.eof and len(whole) < most:
            raise EOFError
        body = member.unused_data
    return bytes(whole)


def _inflate(body: bytes, most: int) -> bytes:
    try:
        return _whole(zlib.decompressobj(_ZLIB), body, most)
    except zlib.error:
        return _whole(zlib.decompressobj(_RAW), body, most)


def _whole(decoder: zlib._Decompress, body: bytes, most: int) -> bytes:
    whole = decoder.decompress(body, most)
    if len(whole) < most and not decoder.eof:
        raise EOFError
    return whole


def _unbrotli(body: bytes, most: int) -> bytes:
    decoder = brotli.Decompressor()
    whole = bytearray(decoder.process(body, output_buffer_limit=most))
    while not decoder.is_finished() and len(whole) < most:
        more = decoder.process(b"", output_buffer_limit=most - len(whole))
        if not more:
            raise EOFError
        whole += more
    return bytes(whole)


_DECODERS: dict[str, Callable[[bytes, int], bytes]] = {
    "gzip": _gunzip,
    "x-gzip": _gunzip,
    "deflate": _inflate,
    "br": _unbrotli,
}
