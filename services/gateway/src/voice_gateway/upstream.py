"""The services behind the gateway: each with time-outs, a bound on what is under way, and a circuit breaker."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

import aiohttp
import structlog
from multidict import CIMultiDict

from voice_common.deadlines import Deadlines, expire
from voice_common.errors import WELL_HEADER, BadGateway, GatewayTimeout, Unavailable, VoiceError
from voice_gateway.areas import ServiceName
from voice_gateway.breaker import Breaker
from voice_gateway.exchange import Answer, Body, Exchanges
from voice_gateway.metrics import UPSTREAM_ERRORS, UPSTREAM_RETRIES

T = TypeVar("T")
_log = structlog.get_logger("voice.gateway.upstream")
_SAFE = frozenset({"GET", "HEAD"})
_RETRY_PAUSE = 0.1
_RESTART_SECONDS = 3.0
"""For how long of an outage GETs wait for a service that refuses connections: a restart takes that long."""
_UNAVAILABLE = 503
_TICKS = 50
_LONGEST_TICK = 0.1
"""A time-out is noticed within a fiftieth of the patience with a first byte, at most so many seconds late."""
_HANGS = 0.5
"""The part of the patience with a first byte after which a caller that leaves says that the service hangs.

Callers often have less patience than that: without it, a service that hangs never counts as one that fails.
"""
_POOL_KEEPS = 30.0
"""Seconds that an idle connection is kept: less than the services keep theirs (75), so none is used as it closes."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a service may take, in seconds: to connect, to begin its answer, and to end it.

    The time in which a client takes the answer is not the service's.
    """

    connect: float = 1.0
    first_byte: float = 10.0
    total: float = 30.0


def make_session() -> aiohttp.ClientSession:
    """Make the one session of a process; the bulkheads bound its connections."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=_POOL_KEEPS, ttl_dns_cache=10),
        auto_decompress=False,
        cookie_jar=aiohttp.DummyCookieJar(),
        skip_auto_headers=("Accept", "Accept-Encoding", "User-Agent", "Content-Type"),
        timeout=aiohttp.ClientTimeout(total=None),
        read_bufsize=256 * 1024,
    )


class _Spent:
    """The time that a service takes for one answer, without that which whoever reads it takes."""

    __slots__ = ("_deadlines", "_left", "_since", "_timeout")

    def __init__(self, deadlines: Deadlines[asyncio.Timeout], timeout: asyncio.Timeout, due: float) -> None:
        self._deadlines = deadlines
        self._timeout = timeout
        self._since = asyncio.get_running_loop().time()
        self._left = due - self._since
        deadlines.set(timeout, due)

    def watch(self, waiting: bool) -> None:  # noqa: FBT001 - a callback's one argument
        """Let time count while somebody waits for the service, and no longer."""
        now = asyncio.get_running_loop().time()
        if waiting:
            self._since = now
            self._deadlines.set(self._timeout, now + self._left)
        else:
            self._left -= now - self._since
            self._deadlines.forget(self._timeout)


class Service:
    """One service: asks it, and says what is wrong when it does not answer."""

    def __init__(
        self,
        name: ServiceName,
        url: str,
        session: aiohttp.ClientSession,
        *,
        patience: Patience | None = None,
        places: int = 512,
    ) -> None:
        self.name = name
        self._patience = patience or Patience()
        self._exchanges = Exchanges(url, session, connect_seconds=self._patience.connect)
        self._places = places
        self._breaker = Breaker(name)
        self._deadlines = Deadlines(expire, tick=min(_LONGEST_TICK, self._patience.first_byte / _TICKS))
        self._refused_since: float | None = None

    async def ask(
        self,
        method: str,
        target: str,
        headers: CIMultiDict[str],
        read: Callable[[Answer], Awaitable[T]],
        *,
        body: Body | None = None,
    ) -> T:
        """Send a request (`target` as it came, not decoded; `body` in pieces) and give what `read` makes of the answer.

        `read` is called as the answer's head arrives; with its end the exchange ends, whether all was read or not.
        Raises `Unavailable` (down, resting, full, or it broke off: a client does well to try again), `BadGateway` (it
        answered what is no HTTP) or `GatewayTimeout` (too slow), also when that shows only while `read` reads. To be
        cancelled ends the request at the service, and counts as its failure where it should have answered long before.
        """
        if self._places <= 0:
            UPSTREAM_ERRORS.labels(self.name, "full").inc()
            raise Unavailable
        self._places -= 1
        try:
            with self._breaker.call() as call:
                began = asyncio.get_running_loop().time()
                timeout = asyncio.timeout(None)
                answer: Answer | None = None
                try:
                    async with timeout:
                        self._deadlines.set(timeout, began + self._patience.first_byte)
                        answer = await self._begin(method, target, headers, body)
                        if answer.status == _UNAVAILABLE and WELL_HEADER not in answer.headers:
                            call.failed()
                        else:
                            call.succeeded()
                        spent = _Spent(self._deadlines, timeout, began + self._patience.total)
                        answer.watch = spent.watch
                        with answer:
                            return await read(answer)
                except (aiohttp.ClientConnectorError, aiohttp.ServerTimeoutError) as error:
                    call.failed()
                    raise self._problem("down", Unavailable()) from error
                except TimeoutError as error:
                    call.failed()
                    raise self._problem("slow", GatewayTimeout()) from error
                except (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError) as error:
                    call.failed()  # it went away in the middle: nobody knows what became of the request
                    raise self._problem("failed", Unavailable()) from error
                except aiohttp.ClientError as error:
                    call.failed()
                    raise self._problem("failed", BadGateway()) from error
                except asyncio.CancelledError:
                    waited = asyncio.get_running_loop().time() - began
                    if answer is None and waited >= self._patience.first_byte * _HANGS:
                        call.failed()
                    raise
                finally:
                    self._deadlines.forget(timeout)
        finally:
            self._places += 1

    async def _begin(self, method: str, target: str, headers: CIMultiDict[str], body: Body | None) -> Answer:
        try:
            return await self._send(method, target, headers, body)
        except aiohttp.ClientConnectionError as error:
            if method not in _SAFE or isinstance(error, aiohttp.ServerTimeoutError):
                raise
            UPSTREAM_RETRIES.labels(self.name).inc()
            refusal = error if isinstance(error, aiohttp.ClientConnectorError) else None
        while True:
            if refusal is not None:  # nothing was sent: until a restart would be over it can be tried again
                if self._is_down():
                    raise refusal
                await asyncio.sleep(_RETRY_PAUSE)
            try:
                return await self._send(method, target, headers, body)
            except aiohttp.ClientConnectorError as error:
                refusal = error

    def _is_down(self) -> bool:
        now = asyncio.get_running_loop().time()
        return self._refused_since is not None and now - self._refused_since >= _RESTART_SECONDS

    async def _send(self, method: str, target: str, headers: CIMultiDict[str], body: Body | None) -> Answer:
        try:
            answer = await self._exchanges.begin(method, target, headers, body)
        except aiohttp.ClientConnectorError:
            if self._refused_since is None:
                self._refused_since = asyncio.get_running_loop().time()
            raise
        self._refused_since = None
        return answer

    def _problem(self, reason: str, error: VoiceError) -> VoiceError:
        UPSTREAM_ERRORS.labels(self.name, reason).inc()
        _log.warning("service can't be used", dependency=self.name, reason=reason)
        return error
