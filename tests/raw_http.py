"""HTTP/1.1 by hand, over streams: for what no client would send, or how none would read."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Protocol


class Listening(Protocol):
    """What listens on a loopback port."""

    port: int


async def all_of(reader: asyncio.StreamReader, seconds: float = 5.0) -> bytes:
    """Read until the gateway closes."""
    async with asyncio.timeout(seconds):
        return await reader.read()


async def asks(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> int:
    """Ask for something that is always there, on a connection that stays; give the status."""
    async with asyncio.timeout(10):
        writer.write(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
        status = (await reader.readuntil(b"\r\n\r\n")).split(b" ")[1]
        await reader.readuntil(b"}")
    return int(status)


def split(answer: bytes) -> tuple[int, dict[str, str], object]:
    """Give the status, the headers (names in lower case) and the JSON of one whole answer."""
    head, _, body = answer.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines[1:])}
    assert int(headers["content-length"]) == len(body)
    return int(lines[0].split(" ")[1]), headers, json.loads(body)


async def exchange(gateway: Listening, raw: bytes, token: str = "") -> bytes:
    """Send bytes and read all that comes until the gateway closes, or says nothing more."""
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(raw.replace(b"TOKEN", token.encode()))
    received = b""
    try:
        while chunk := await asyncio.wait_for(reader.read(65536), 0.4 if received else 3):
            received += chunk
    except (TimeoutError, ConnectionError):
        pass
    writer.transport.abort()
    return received


def answers_in(received: bytes) -> list[int]:
    return [int(code) for code in re.findall(rb"HTTP/1\.[01] (\d{3}) ", received)]
