"""Checks of signatures, a few at a time in this process and many in another: the verifier beside a busy worker.

No timer and no added wait: what one turn of the event loop brings is a batch, and while one is under way, the next
gathers. A lone check costs less here than sending it does.
"""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextvars import Context
from typing import cast

import structlog

from voice_common.telemetry.failures import name_of
from voice_common.telemetry.tally import TALLY
from voice_webhooks import verifier
from voice_webhooks.telemetry import CHECKED_BESIDE, CHECKED_HERE
from voice_webhooks.verifier import KEY_BYTES, Check, is_good, pack

_MANY = 4
_HERE_AT_ONCE = 8
_BATCH_CHECKS = 256
_BATCH_BYTES = 2 * 1024 * 1024
_ANSWER_SECONDS = 0.25
_START_SECONDS = 10.0
_RESTART_SECONDS = 5.0
_log = structlog.get_logger("voice.verifying")

Waiting = tuple[Check, "asyncio.Future[bool]"]


class _Verifier(asyncio.Protocol):
    """A verifier and the connection to it, which has one batch under way at most.

    `free` is called when it can take the next one, `left` with what is unanswered when there is no verifier, and
    `reaping` with what is done once a process of it that was killed has been waited for.
    """

    _process: subprocess.Popen[bytes]
    _transport: asyncio.Transport

    def __init__(
        self,
        free: Callable[[], None],
        left: Callable[[list[Waiting]], None],
        reaping: Callable[[asyncio.Future[int]], None],
    ) -> None:
        self._free = free
        self._left = left
        self._reaping = reaping
        self._under_way: list[Waiting] = []
        self._results = 0
        self._overdue: asyncio.TimerHandle | None = None
        self.is_ready = False
        """Whether it has started."""

    async def start(self) -> None:
        """Start the process; it says itself when it is ready."""
        try:
            ours, theirs = socket.socketpair()
            with theirs:
                command = [sys.executable, "-m", verifier.__name__, str(theirs.fileno())]
                self._process = await asyncio.to_thread(subprocess.Popen, command, pass_fds=[theirs.fileno()])
            await self._connect(ours)
        except OSError as error:
            _log.warning("no verifier could be started", error=name_of(error))
            self._left([])
        else:
            if not self.is_ready:  # while this task waited for its turn, it can have said so
                self._expect(_START_SECONDS)

    async def _connect(self, ours: socket.socket) -> None:
        try:
            await asyncio.get_running_loop().create_unix_connection(lambda: self, sock=ours)
        except BaseException:
            ours.close()
            self._reap()  # it runs, and nobody else will end it
            raise

    @property
    def is_busy(self) -> bool:
        """Whether a batch is under way."""
        return bool(self._under_way)

    def send(self, batch: list[Waiting]) -> None:
        """Have a batch checked, and tell who waits for it."""
        self._under_way, self._results = batch, 0
        self._transport.write(pack(check for check, _ in batch))
        self._expect(_ANSWER_SECONDS)

    async def end(self) -> None:
        """End the process that was started, and wait until it has ended."""
        self._transport.abort()
        await asyncio.to_thread(self._process.wait)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's has another base

    def data_received(self, data: bytes) -> None:
        for (_, outcome), result in zip(self._under_way[self._results :], data, strict=False):
            if not outcome.done():  # else its caller has left
                outcome.set_result(result == 1)
        self._results += len(data)
        if self._results >= len(self._under_way):
            self._end_batch()
            self.is_ready = True
            self._free()

    def connection_lost(self, _exc: Exception | None) -> None:
        unanswered = self._under_way[self._results :]
        self._end_batch()
        self._reap()
        self._left(unanswered)

    def _reap(self) -> None:
        """End the process now, and have it waited for: else it would stay as a zombie."""
        self._process.kill()
        self._reaping(asyncio.get_running_loop().run_in_executor(None, self._process.wait))

    def _expect(self, seconds: float) -> None:
        """Give the verifier up unless it answers in time."""
        self._overdue = asyncio.get_running_loop().call_later(seconds, self._transport.abort)

    def _end_batch(self) -> None:
        self._under_way = []
        if self._overdue is not None:
            self._overdue.cancel()


class Verifying:
    """Checks signatures; `beside` says whether it may start a verifier, which it does with the first batch of many.

    A verifier is never relied on: what it does not answer in time is checked here, and the next one starts seconds
    later.
    """

    def __init__(self, *, beside: bool) -> None:
        self._beside = beside
        self._waiting: list[Waiting] = []
        self._scheduled = False
        self._verifier: _Verifier | None = None
        self._starting: asyncio.Task[None] | None = None
        self._ending: set[asyncio.Future[int]] = set()
        self._not_before = float("-inf")

    def check(self, key: bytes, signed: bytes) -> asyncio.Future[bool]:
        """Tell whether the raw public `key` made the signature that `signed` begins with, of the rest of it."""
        outcome: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        if len(key) == KEY_BYTES:
            self._waiting.append((Check(key, signed), outcome))
            self._schedule()
        else:
            outcome.set_result(False)
        return outcome

    async def close(self) -> None:
        """End the verifier and wait for every one that there was; what is still to be checked is checked here."""
        self._beside = False
        if self._starting is not None:
            await self._starting
        if self._verifier is not None:
            await self._verifier.end()
        await asyncio.gather(*self._ending)

    def _schedule(self) -> None:
        if not self._scheduled and self._waiting:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._go)

    def _go(self) -> None:
        self._scheduled = False
        if self._verifier is not None and self._verifier.is_busy:
            return
        if len(self._waiting) >= _MANY and self._beside:
            if self._verifier is None:
                self._start()
            elif self._verifier.is_ready:
                batch = self._take(_BATCH_CHECKS)
                TALLY.count(CHECKED_BESIDE, len(batch))
                self._verifier.send(batch)
                return
        here = self._take(_HERE_AT_ONCE)
        TALLY.count(CHECKED_HERE, len(here))
        for check, outcome in here:
            if not outcome.done():
                outcome.set_result(is_good(check))
        self._schedule()

    def _take(self, most: int) -> list[Waiting]:
        """Take what waits longest: at most so many checks, and no more once they have many bytes."""
        size = count = 0
        for check, _ in self._waiting[:most]:
            size += len(check.signed)
            count += 1
            if size >= _BATCH_BYTES:
                break
        taken, self._waiting = self._waiting[:count], self._waiting[count:]
        return taken

    def _start(self) -> None:
        now = time.monotonic()
        if now >= self._not_before:
            self._not_before = now + _RESTART_SECONDS
            self._verifier = _Verifier(self._schedule, self._go_on_alone, self._remember)
            # In a context of its own: what is logged of it later is not of the request that happened to be there.
            self._starting = asyncio.create_task(self._verifier.start(), context=Context())

    def _remember(self, ending: asyncio.Future[int]) -> None:
        self._ending.add(ending)
        ending.add_done_callback(self._ending.discard)

    def _go_on_alone(self, unanswered: list[Waiting]) -> None:
        if self._beside:
            _log.warning("the verifier ended or hung", unanswered=len(unanswered))
        self._verifier = None
        self._waiting = unanswered + self._waiting
        self._schedule()
