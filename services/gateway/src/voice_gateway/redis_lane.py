"""One pipelined connection to Redis: what is asked together goes together, and nobody waits long.

redis-py connects and authenticates, hiredis parses. Commands that are asked in one turn of the event loop go out in one
write, without waiting for the answers of earlier ones; Redis answers in order.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

import hiredis
import structlog
from prometheus_client import Histogram
from redis.asyncio.connection import Connection, ConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import InvalidResponse, RedisError, ResponseError

from voice_common.telemetry.tally import TALLY
from voice_gateway.metrics import REDIS_CONNECTIONS, REDIS_SECONDS

_log = structlog.get_logger("voice.gateway.redis")
_CONNECT_SECONDS = 1.0
_PROBE_SECONDS = 0.25
_STEADY_SECONDS = 1.0
_PAUSES = (0.0, 0.05, 0.1, 0.25, 0.5)
_LOOKS = 3
_LOOK_SECONDS = 0.001
_READ_BYTES = 64 * 1024


class LaneDownError(Exception):
    """Redis can't be asked now, or did not answer in time."""


def pack(*parts: bytes) -> bytes:
    """Give a command in Redis' protocol (RESP)."""
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%b\r\n" % (len(part), part) for part in parts)


class RedisLane:
    """Asks Redis over one connection, made anew whenever it breaks or is slower than `patience` seconds.

    `purpose` names it in metrics, `scripts` are loaded whenever it connects. `on_change` is told whether the lane is
    up.
    """

    def __init__(
        self,
        url: str,
        purpose: str,
        *,
        patience: float,
        scripts: tuple[str, ...] = (),
        on_change: Callable[[bool], None] | None = None,
    ) -> None:
        # No time-out of redis-py's own: it writes within asyncio.wait_for then, which before Python 3.12 can lose the
        # cancellation that ends a broken link, and the lane would never be made anew.
        self._pool: ConnectionPool = ConnectionPool.from_url(
            url, protocol=2, retry=Retry(NoBackoff(), 0), socket_timeout=None
        )
        self._patience = patience
        self._scripts = scripts
        self._on_change = on_change or _nobody
        self._connections = REDIS_CONNECTIONS.labels(purpose)
        self._seconds = REDIS_SECONDS.labels(purpose)
        self._link: _Link | None = None

    @property
    def is_up(self) -> bool:
        """Whether Redis can be asked now."""
        return self._link is not None

    @property
    def asked(self) -> int:
        """How many commands went out on the connection of now."""
        return 0 if self._link is None else self._link.asked

    def ask(self, command: bytes) -> asyncio.Future[Any]:
        """Send one packed command with the others of this turn; raise `LaneDownError` at once where that can't be.

        The future gives Redis' answer, or raises `LaneDownError` (no answer in time) or redis-py's `ResponseError`.
        """
        if self._link is None:
            raise LaneDownError
        return self._link.ask(command)

    async def run(self) -> None:
        """Keep the lane connected until cancelled."""
        failures = 0
        loop = asyncio.get_running_loop()
        while True:
            started = loop.time()
            try:
                await self._serve()
            except Exception as error:  # noqa: BLE001 - whatever broke it, the lane is made anew
                if loop.time() - started > _STEADY_SECONDS:
                    failures = 0
                if failures == 0:
                    _log.warning("Redis can't be used", error=type(error).__name__)
            await asyncio.sleep(_PAUSES[min(failures, len(_PAUSES) - 1)])
            failures += 1

    async def _serve(self) -> None:
        connection = self._pool.make_connection()  # type: ignore[no-untyped-call]
        link = _Link(connection, self._patience, self._seconds, self._down)
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                await connection.connect()
                for script in self._scripts:
                    await self._command(connection, b"SCRIPT", b"LOAD", script.encode())
            # A Redis that connects but answers slowly is no use: it must be quick once before it is relied on. The
            # measure is not `patience`: in a busy process these few steps alone take that long.
            async with asyncio.timeout(_PROBE_SECONDS):
                await self._command(connection, b"PING")
            self._link = link
            self._connections.set(1)
            self._on_change(True)  # noqa: FBT003 - a callback with one argument
            await _first_error(link.write(), link.read(), link.watch())
        except asyncio.CancelledError:
            self._on_change = _nobody  # a stop is no loss of Redis
            raise
        finally:
            self._down()
            link.fail()
            await connection.disconnect(nowait=True)

    @staticmethod
    async def _command(connection: Connection, *parts: bytes) -> Any:  # noqa: ANN401 - whatever Redis answers
        await connection.send_packed_command(pack(*parts), check_health=False)
        return await connection.read_response(timeout=math.inf)

    def _down(self) -> None:
        if self._link is not None:
            self._link = None
            self._connections.set(0)
            self._on_change(False)  # noqa: FBT003 - as above


class _Link:
    """What is under way on one connection; it ends with it, so nothing late is taken for another's answer."""

    def __init__(
        self, connection: Connection, patience: float, seconds: Histogram, on_failure: Callable[[], None]
    ) -> None:
        self.asked = 0
        self._answered = 0
        self._connection = connection
        self._patience = patience
        self._seconds = seconds
        self._on_failure = on_failure
        self._outgoing: list[bytes] = []
        self._waiting: deque[asyncio.Future[Any]] = deque()
        self._sent: deque[tuple[int, float]] = deque()  # what was asked by then, and when that was sent
        self._wake = asyncio.Event()
        self._broken = asyncio.Event()

    def ask(self, command: bytes) -> asyncio.Future[Any]:
        """Send a command with the others of this turn."""
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        if not self._outgoing:
            self._wake.set()
        self._outgoing.append(command)
        self._waiting.append(future)
        self.asked += 1
        return future

    async def write(self) -> None:
        """Send what is asked, until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            await self._wake.wait()
            self._wake.clear()
            commands, self._outgoing = self._outgoing, []
            loop.call_later(self._patience, self._expire, self.asked)
            self._sent.append((self.asked, time.perf_counter()))
            await self._connection.send_packed_command(commands, check_health=False)

    async def read(self) -> None:
        """Give each answer to whoever asked, until cancelled."""
        # redis-py reads one answer at a time, through six coroutines; what came together is given out together here.
        stream = self._connection._reader  # noqa: SLF001 - there is no public way to its stream
        parse_error = self._connection._parser.parse_error  # noqa: SLF001 - as above
        parser = hiredis.Reader(protocolError=InvalidResponse, replyError=parse_error)
        while stream is not None and (data := await stream.read(_READ_BYTES)):
            parser.feed(data)
            while (answer := parser.gets()) is not False:
                self._give(answer)
            self._measure()
        raise LaneDownError

    def _measure(self) -> None:
        """Take note of how long it took to answer what was sent together."""
        now = time.perf_counter()
        while self._sent and self._sent[0][0] <= self._answered:
            _, at = self._sent.popleft()
            TALLY.observe(self._seconds, now - at)

    def _give(self, answer: object) -> None:
        if self._broken.is_set():
            raise LaneDownError
        if isinstance(answer, RedisError) and type(answer) is not ResponseError:
            raise answer  # NOSCRIPT, LOADING, READONLY, …: the lane must begin anew
        self._answered += 1
        future = self._waiting.popleft()
        if future.done():
            return  # whoever asked has left
        if isinstance(answer, ResponseError):
            future.set_exception(answer)
        else:
            future.set_result(answer)

    async def watch(self) -> None:
        """Wait until the connection is given up; raise `LaneDownError` then."""
        await self._broken.wait()
        raise LaneDownError

    def fail(self) -> None:
        """Give up: tell everybody who waits that there will be no answer."""
        self._broken.set()
        while self._waiting:
            future = self._waiting.popleft()
            if not future.done():
                future.set_exception(LaneDownError())

    def _expire(self, asked: int, looks: int = _LOOKS) -> None:
        """Give up when what was asked by then is not answered now.

        A busy process is no slow Redis: the answer may wait in the socket, or its reader for its turn. So it is looked
        for again in some later turns of the event loop, each of which reads what is there.
        """
        if self._broken.is_set() or self._answered >= asked:
            return
        if looks:
            asyncio.get_running_loop().call_later(_LOOK_SECONDS, self._expire, asked, looks - 1)
            return
        self._on_failure()
        self.fail()


def _nobody(up: bool) -> None:  # noqa: FBT001 - a callback's one argument
    """Tell nobody that the lane changed."""


async def _first_error(*parts: Awaitable[None]) -> None:
    """Run `parts` until one of them raises, end the others, and raise that."""
    tasks = [asyncio.ensure_future(part) for part in parts]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
