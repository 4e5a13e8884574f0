"""A load of prepared HTTP/1.1 requests over keep-alive connections, from this process, to loopback only."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import cast

_HEAD_END = b"\r\n\r\n"


@dataclass(frozen=True, slots=True)
class LoadResult:
    """What a load came to: answers a second, latencies in milliseconds, and how many answers had each status."""

    per_s: float
    p50_ms: float
    p99_ms: float
    statuses: dict[int, int]


class _Connection(asyncio.Protocol):
    """Sends one request, waits for its whole answer, sends the next."""

    def __init__(self, requests: Iterator[bytes], done: Callable[[float, int], bool]) -> None:
        self._requests = requests
        self._done = done
        self._buffer = b""
        self._sent_at = 0.0
        self.transport: asyncio.Transport | None = None
        self.finished: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's has another base
        self._next()

    def data_received(self, data: bytes) -> None:
        self._buffer = self._buffer + data if self._buffer else data
        head_end = self._buffer.find(_HEAD_END)
        if head_end < 0:
            return
        head = self._buffer[:head_end].lower()
        length_at = head.find(b"content-length: ")
        length = int(head[length_at + 16 :].split(b"\r", 1)[0]) if length_at >= 0 else 0
        if len(self._buffer) < head_end + 4 + length:
            return
        self._buffer = b""
        if self._done(time.perf_counter() - self._sent_at, int(head[9:12])):
            self._next()
        else:
            self._finish()

    def connection_lost(self, exc: Exception | None) -> None:
        self._finish()

    def _next(self) -> None:
        request = next(self._requests, None)
        if request is None:
            self._finish()
            return
        self._sent_at = time.perf_counter()
        assert self.transport is not None
        self.transport.write(request)

    def _finish(self) -> None:
        if not self.finished.done():
            self.finished.set_result(None)
        if self.transport is not None:
            self.transport.close()


async def run_load(port: int, requests: Iterator[bytes], *, connections: int, seconds: float) -> LoadResult:
    """Send `requests` over `connections` for `seconds` or until there are no more; the first tenth is not counted."""
    latencies: list[float] = []
    statuses: dict[int, int] = {}
    started = time.perf_counter()
    counted_from, until = started + seconds / 10, started + seconds
    first_counted: float | None = None
    last = started

    def done(latency: float, status: int) -> bool:
        nonlocal first_counted, last
        now = time.perf_counter()
        if now >= counted_from:
            if first_counted is None:
                first_counted = now
            latencies.append(latency)
            statuses[status] = statuses.get(status, 0) + 1
            last = now
        return now < until

    loop = asyncio.get_running_loop()
    protocols = []
    for _ in range(connections):
        _, protocol = await loop.create_connection(lambda: _Connection(requests, done), "127.0.0.1", port)
        protocols.append(protocol)
    await asyncio.wait_for(asyncio.gather(*(protocol.finished for protocol in protocols)), seconds + 30)
    latencies.sort()
    elapsed = last - (first_counted or last)
    if not latencies or elapsed <= 0:
        raise RuntimeError(f"the load got no answers: {statuses}")
    return LoadResult(
        len(latencies) / elapsed,
        latencies[len(latencies) // 2] * 1000,
        latencies[int(len(latencies) * 0.99)] * 1000,
        statuses,
    )
