"""Loads of prepared HTTP/1.1 requests over keep-alive connections, from this process, to loopback only.

A parser of just what our own services answer: a load generator that took as long for a request as the server does
would measure itself.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import cast

_HEAD_END = b"\r\n\r\n"
_TICK = 0.002
_OK = 200
_FEW = 4


@dataclass(frozen=True, slots=True)
class LoadResult:
    """What a load came to: answers a second, latencies in milliseconds, and how many answers had each status.

    `metered` is what the load's meter went forward by for each answer.
    """

    per_s: float
    p50_ms: float
    p99_ms: float
    statuses: dict[int, int]
    metered: float = 0.0


class _Client(asyncio.Protocol):
    """A connection that has one request under way at most; `answered` is told each answer's latency and status."""

    def __init__(self) -> None:
        self._buffer = b""
        self._sent_at = 0.0
        self.transport: asyncio.Transport | None = None

    def answered(self, latency: float, status: int) -> None:
        """Take note of an answer."""
        raise NotImplementedError

    def send(self, request: bytes) -> None:
        """Send a request."""
        assert self.transport is not None
        self._sent_at = time.perf_counter()
        self.transport.write(request)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's has another base

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
        self.answered(time.perf_counter() - self._sent_at, int(head[9:12]))


class _Greedy(_Client):
    """Sends the next request as soon as the last one is answered."""

    def __init__(self, requests: Iterator[bytes], done: Callable[[float, int], bool]) -> None:
        super().__init__()
        self._requests = requests
        self._done = done
        self.finished: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def begin(self) -> None:
        """Send the first request."""
        self._next()

    def answered(self, latency: float, status: int) -> None:
        """Go on, or stop."""
        if self._done(latency, status):
            self._next()
        else:
            self._finish()

    def connection_lost(self, _exc: Exception | None) -> None:
        """Stop."""
        self._finish()

    def _next(self) -> None:
        request = next(self._requests, None)
        if request is None:
            self._finish()
        else:
            self.send(request)

    def _finish(self) -> None:
        if not self.finished.done():
            self.finished.set_result(None)
        if self.transport is not None:
            self.transport.close()


class _Paced(_Client):
    """Sends what it is given, and says when it is idle again."""

    def __init__(self, idle: Callable[[_Paced, float, int], None]) -> None:
        super().__init__()
        self._idle = idle
        self.request: tuple[int, bytes] = (0, b"")

    def answered(self, latency: float, status: int) -> None:
        """Say so."""
        self._idle(self, latency, status)


class PacedLoad:
    """Sends requests at a steady rate, whatever the server does: what it can't take yet waits here.

    `acknowledged` is called with each request's number once it is answered with 200; another answer sends it again.
    `finished` makes of a prepared request what is sent. `acks` are the seconds from when a request was due to its 200.
    """

    def __init__(
        self,
        port: int,
        *,
        connections: int,
        acknowledged: Callable[[int], None],
        finished: Callable[[bytes], bytes] = bytes,
    ) -> None:
        self._port = port
        self._finished = finished
        self._connections = connections
        self._acknowledged = acknowledged
        self._waiting: deque[tuple[int, bytes]] = deque()
        self._due_at: dict[int, float] = {}
        self._free: list[_Paced] = []
        self.acks: list[float] = []
        self.refused = 0

    async def run(self, requests: list[bytes], rate: float, *, seconds: float) -> float:
        """Send all requests, `rate` a second; give the seconds until the last was acknowledged.

        Raises `TimeoutError` where that takes longer than `seconds`.
        """
        loop = asyncio.get_running_loop()
        for _ in range(self._connections):
            _, client = await loop.create_connection(lambda: _Paced(self._answered), "127.0.0.1", self._port)
            self._free.append(client)
        clients = list(self._free)
        started, sent = time.perf_counter(), 0
        while len(self.acks) < len(requests):
            now = time.perf_counter()
            for number in range(sent, min(len(requests), int((now - started) * rate) + 1)):
                self._due_at[number] = now
                self._waiting.append((number, requests[number]))
                sent = number + 1
            self._dispatch()
            if now - started > seconds:
                raise TimeoutError(f"{len(self.acks)} of {len(requests)} requests were acknowledged in {seconds} s")
            await asyncio.sleep(_TICK)
        elapsed = time.perf_counter() - started
        for client in clients:
            assert client.transport is not None
            client.transport.close()
        return elapsed

    def _dispatch(self) -> None:
        while self._waiting and self._free:
            client = self._free.pop()
            client.request = self._waiting.popleft()
            client.send(self._finished(client.request[1]))

    def _answered(self, client: _Paced, _latency: float, status: int) -> None:
        self._free.append(client)
        if status == _OK:
            number = client.request[0]
            self.acks.append(time.perf_counter() - self._due_at.pop(number))
            self._acknowledged(number)
        else:
            self.refused += 1
            self._waiting.append(client.request)
        self._dispatch()


async def run_load(
    port: int,
    requests: Iterator[bytes],
    *,
    connections: int,
    seconds: float,
    meter: Callable[[], float] = lambda: 0.0,
) -> LoadResult:
    """Send `requests` over `connections` for `seconds` or until there are no more; the first tenth is not counted.

    `meter` is read as counting begins and ends: connecting and closing are not in it. A server that gives each
    connection few answers works on many at a time; its whole run is metered, from the first request to the last answer.
    """
    latencies: list[float] = []
    readings: list[tuple[float, int]] = []
    statuses: dict[int, int] = {}
    first_counted: float | None = None
    counted_from = until = last = 0.0
    answers = 0

    def done(latency: float, status: int) -> bool:
        nonlocal first_counted, last, answers
        now = time.perf_counter()
        answers += 1
        if now >= counted_from:
            if first_counted is None:
                first_counted = now
                readings.append((meter(), 1))
            latencies.append(latency)
            statuses[status] = statuses.get(status, 0) + 1
            last = now
        if now < until:
            return True
        if len(readings) == 1:
            readings.append((meter(), len(latencies)))
        return False

    loop = asyncio.get_running_loop()
    protocols = []
    for _ in range(connections):
        _, protocol = await loop.create_connection(lambda: _Greedy(requests, done), "127.0.0.1", port)
        protocols.append(protocol)
    started = last = time.perf_counter()
    counted_from, until = started + seconds / 10, started + seconds
    at_first = meter()
    for protocol in protocols:
        protocol.begin()
    await asyncio.wait_for(asyncio.gather(*(protocol.finished for protocol in protocols)), seconds + 30)
    at_last = meter()
    latencies.sort()
    elapsed = last - (first_counted or last)
    if not latencies or elapsed <= 0:
        raise RuntimeError(f"the load got no answers: {statuses}")
    (began, before), (ended, after) = readings[0], readings[-1]
    if after - before < _FEW * connections:
        (began, before), (ended, after) = (at_first, 0), (at_last, answers)
    return LoadResult(
        len(latencies) / elapsed,
        latencies[len(latencies) // 2] * 1000,
        latencies[int(len(latencies) * 0.99)] * 1000,
        statuses,
        (ended - began) / (after - before),
    )
