"""Webhooks by hand: every Content-Encoding, Transfer-Encoding and Expect together, signed and not."""

from __future__ import annotations

import asyncio
import gzip
import itertools
import zlib
from collections.abc import Iterator
from typing import NamedTuple

import brotli  # type: ignore[import-untyped]
from webhooks_factories import VOICE, Signer

CODINGS = (None, "gzip", "deflate", "br", "identity", "zstd", "unheard-of", "gzip, br")
FRAMINGS = ("length", "chunked", "gzip, chunked", "identity", "length and chunked")
EXPECTATIONS = (None, "100-continue", "101-wait")
BODIES = ("coded", "plain")
"""Whether a body is of its coding, or is none of it."""


class Sent(NamedTuple):
    """One way to send a webhook."""

    coding: str | None
    framing: str
    expectation: str | None
    body: str
    signed: bool

    @property
    def is_clean(self) -> bool:
        """Whether it is HTTP that can be read, with a body of its coding and a signature."""
        readable = self.coding not in {"zstd", "unheard-of"} and (self.body == "coded" or self._codes_nothing)
        return self.signed and readable and self.framing in {"length", "chunked"} and self.expectation != "101-wait"

    @property
    def _codes_nothing(self) -> bool:
        return self.coding in {None, "identity"}

    def bytes_of(self, body: bytes, signer: Signer) -> bytes:
        """Give the request as it goes out."""
        sent = _coded(body, self.coding) if self.body == "coded" else body
        headers = [f"POST {VOICE} HTTP/1.1", "Host: x", "Connection: close", "Content-Type: application/json"]
        if self.signed:
            headers += [f"{name}: {value}" for name, value in signer.headers(sent).items()]
        if self.coding is not None:
            headers.append(f"Content-Encoding: {self.coding}")
        if self.expectation is not None:
            headers.append(f"Expect: {self.expectation}")
        if "length" in self.framing or self.framing == "identity":
            headers.append(f"Content-Length: {len(sent)}")
        if self.framing != "length":
            headers.append(f"Transfer-Encoding: {self.framing.removeprefix('length and ')}")
        framed = sent if "chunked" not in self.framing else b"%x\r\n%b\r\n0\r\n\r\n" % (len(sent), sent)
        return "\r\n".join(headers).encode() + b"\r\n\r\n" + framed


def _coded(body: bytes, coding: str | None) -> bytes:
    for name in (coding or "").split(", "):
        if name == "gzip":
            body = gzip.compress(body)
        elif name == "deflate":
            body = zlib.compress(body)
        elif name == "br":
            body = brotli.compress(body)
    return body


def every_way() -> Iterator[Sent]:
    """Give all combinations."""
    for coding, framing, expectation, body, signed in itertools.product(
        CODINGS, FRAMINGS, EXPECTATIONS, BODIES, (True, False)
    ):
        yield Sent(coding, framing, expectation, body, signed)


async def ask(port: int, request: bytes) -> int | None:
    """Send a request by hand and give the status of the final answer; ``None`` where the connection was closed."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request)
        async with asyncio.timeout(5):
            answer = await reader.read()
    except ConnectionError:
        return None
    finally:
        writer.transport.abort()
    status = None
    while answer.startswith(b"HTTP/1.1 "):
        head, _, rest = answer.partition(b"\r\n\r\n")
        status = int(head.split(b" ")[1])
        if status >= 200:
            break
        answer = rest
    return status
