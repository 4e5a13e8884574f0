"""A service that answers at once: ``python -m benchmarks.gateway.replay PORT FOLDER``.

It gives the recorded answers of the real services, byte for byte, by the path that is asked for: `FOLDER` holds one
file for each, named as in `ANSWERS`. So the upstream behind each proxy is the same, and none of them waits for it.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import cast

import uvloop

ANSWERS = {b"GET /api/voice/analytics/overview": "overview.http", b"GET /api/conversations/": "conversation.http"}
_MISSING = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"


class Replay(asyncio.Protocol):
    """One connection: each request's head is answered with what was recorded for its path."""

    def __init__(self, answers: dict[bytes, bytes]) -> None:
        self._answers = answers
        self._buffer = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the connection."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's has another base

    def data_received(self, data: bytes) -> None:
        """Answer each head that is complete."""
        *heads, self._buffer = (self._buffer + data).split(b"\r\n\r\n")
        for head in heads:
            found = (answer for start, answer in self._answers.items() if head.startswith(start))
            assert self._transport is not None
            self._transport.write(next(found, _MISSING))


async def serve(port: int, folder: Path) -> None:
    """Serve until the process is ended."""
    answers = {start: (folder / name).read_bytes() for start, name in ANSWERS.items()}
    server = await asyncio.get_running_loop().create_server(lambda: Replay(answers), "127.0.0.1", port, backlog=1024)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1]), Path(sys.argv[2])))
