"""The cache of analytics' answers: two levels, one flight for a key, newer over older, stale when analytics is down."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from itertools import chain, repeat
from typing import TypeGuard

import structlog

from voice_common.errors import VoiceError
from voice_common.telemetry.tally import TALLY
from voice_gateway.answers import Answer, now_us
from voice_gateway.memory_level import MemoryLevel
from voice_gateway.metrics import CACHE_RESULTS
from voice_gateway.shared_level import SharedLevel, Turn

STALE_SECONDS = 600
"""How old an answer may be that is given while analytics is down."""

_OTHERS_SECONDS = 0.2
"""Longest that a flight waits for the answer of another gateway before it asks analytics itself."""

_LOOK_PAUSES = (0.002, 0.004, 0.008, 0.016)
_log = structlog.get_logger("voice.gateway.cache")


class Outcome(StrEnum):
    """What the cache did; the value of ``X-Cache``."""

    HIT = "HIT"
    MISS = "MISS"
    STALE = "STALE"


@dataclass(frozen=True, slots=True)
class Fetched:
    """What analytics answered, read whole; an error is one of the contract's."""

    status: int
    body: bytes
    headers: Mapping[str, str]

    @property
    def is_answer(self) -> bool:
        """Whether it may be kept."""
        return self.status == 200  # noqa: PLR2004 - the one status that is cached

    @property
    def is_outage(self) -> bool:
        """Whether analytics could not answer."""
        return self.status >= 500  # noqa: PLR2004 - a server's error


Fetch = Callable[[], Awaitable[Fetched]]


@dataclass(slots=True)  # not frozen: one is made for each request
class Question:
    """What is asked: the answer's key, whose it is, how long it is fresh, and what the caller demands."""

    key: str
    tenant: str
    ttl: int
    refreshed_us: int
    """When an answer of this tenant was last replaced by demand, on any gateway."""
    no_cache: bool = False
    no_store: bool = False


@dataclass(frozen=True, slots=True)
class _Flight:
    outcome: Outcome
    result: Answer | Fetched | VoiceError


class Cache:
    """Gives answers from memory, from Redis or from analytics."""

    def __init__(self, memory: MemoryLevel, shared: SharedLevel, *, clock: Callable[[], int] = now_us) -> None:
        self._memory = memory
        self._shared = shared
        self._clock = clock
        self._flights: dict[str, asyncio.Task[_Flight]] = {}
        self._hits = CACHE_RESULTS.labels(Outcome.HIT)
        self._apart: set[asyncio.Task[_Flight]] = set()

    def holds(self, key: str, ttl: int) -> bool:
        """Tell whether a fresh answer is in this process's memory; whether it is the newest is for `at_hand`."""
        answer = self._memory.get(key)
        return answer is not None and self._clock() - answer.computed_us < ttl * 1_000_000

    def at_hand(self, question: Question) -> Answer | None:
        """Give a fresh answer out of this process's memory, if that is certain to be the newest."""
        if question.no_cache:
            return None
        answer = self._memory.get(question.key)
        if not self._is_current(answer, question):
            return None
        TALLY.count(self._hits)
        return answer

    async def find(self, question: Question, fetch: Fetch) -> tuple[Outcome, Answer | Fetched]:
        """Give an answer, or what analytics said instead; raise what `fetch` raises where nothing can be given."""
        flight = await self._flight(question, fetch)
        CACHE_RESULTS.labels(flight.outcome).inc()
        if isinstance(flight.result, VoiceError):
            raise flight.result
        return flight.outcome, flight.result

    def grown(self, question: Question, answer: Answer) -> None:
        """Account for a form that was added to a kept answer."""
        if self._memory.get(question.key) is answer:
            self._memory.put(question.key, answer)

    async def _flight(self, question: Question, fetch: Fetch) -> _Flight:
        if question.no_cache or question.no_store:
            # It must not join a flight that began before it; later callers may join this one.
            task = asyncio.create_task(
                self._demanded(question, fetch) if question.no_cache else self._own(question, fetch)
            )
            self._apart.add(task)
            task.add_done_callback(self._apart.discard)
            return await asyncio.shield(task)
        task = self._flights.get(question.key) or self._begin(question, fetch)
        return await asyncio.shield(task)

    def _begin(self, question: Question, fetch: Fetch) -> asyncio.Task[_Flight]:
        task = asyncio.create_task(self._wanted(question, fetch))
        self._flights[question.key] = task
        task.add_done_callback(lambda _: self._flights.pop(question.key, None))
        return task

    async def _wanted(self, question: Question, fetch: Fetch) -> _Flight:
        """Give what is fresh at either level, else ask analytics, else give what is stale."""
        kept, turn = await self._awaited(question)
        if self._is_current(kept, question):
            return _Flight(Outcome.HIT, kept)
        try:
            fetched = await self._fetched(question, fetch)
        finally:
            if turn is not Turn.ANOTHERS:  # also where the answer to `look` came too late
                self._shared.pass_turn(question.key)
        if fetched.outcome is Outcome.STALE:
            kept = self._memory.get(question.key) or kept
            if kept is not None and kept.age(self._clock()) <= STALE_SECONDS:
                return _Flight(Outcome.STALE, kept)
            return _Flight(Outcome.MISS, fetched.result)
        return fetched

    async def _demanded(self, question: Question, fetch: Fetch) -> _Flight:
        """Ask analytics, and have every gateway know that older answers are replaced."""
        flight = await self._fetched(question, fetch)
        if isinstance(flight.result, Answer) and not question.no_store:
            await self._shared.mark_refreshed(question.tenant, flight.result.computed_us)
        return _Flight(Outcome.MISS, flight.result)

    async def _own(self, question: Question, fetch: Fetch) -> _Flight:
        """Give what is fresh, else ask analytics and keep nothing of it (RFC 9111 §5.2.1.5)."""
        kept = self._newest(question, await self._shared.get(question.key))
        if self._is_current(kept, question):
            return _Flight(Outcome.HIT, kept)
        return _Flight(Outcome.MISS, (await self._fetched(question, fetch)).result)

    async def _awaited(self, question: Question) -> tuple[Answer | None, Turn]:
        """Give what is newest at both levels; wait a moment for it where another gateway is asking analytics."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + _OTHERS_SECONDS
        for pause in chain(_LOOK_PAUSES, repeat(_LOOK_PAUSES[-1])):
            shared, turn = await self._shared.look(question.key, self._clock() - question.ttl * 1_000_000)
            kept = self._newest(question, shared)
            if turn is not Turn.ANOTHERS or self._is_current(kept, question) or loop.time() + pause > deadline:
                break
            await asyncio.sleep(pause)
        return kept, turn

    def _newest(self, question: Question, shared: Answer | None) -> Answer | None:
        """Give the newer one of both levels, and keep it here."""
        kept = self._memory.get(question.key)
        if shared is None:
            return kept
        if kept is None or shared.computed_us > kept.computed_us:
            self._memory.put(question.key, shared)
            kept = shared
        kept.checked_us = max(kept.checked_us, question.refreshed_us)
        return kept

    async def _fetched(self, question: Question, fetch: Fetch) -> _Flight:
        """Ask analytics and keep its answer; the outcome is STALE where it could not answer."""
        started = self._clock()
        try:
            fetched = await fetch()
        except VoiceError as error:
            return _Flight(Outcome.STALE, error)
        except Exception:  # noqa: BLE001 - a flight has no caller of its own: all who wait are told by the result
            _log.exception("analytics can't be asked")
            return _Flight(Outcome.STALE, VoiceError())
        if not fetched.is_answer:
            return _Flight(Outcome.STALE if fetched.is_outage else Outcome.MISS, fetched)
        answer = Answer(fetched.body, started)
        answer.checked_us = max(started, question.refreshed_us)  # whichever gateway's clock is ahead
        if not question.no_store:
            self._memory.put(question.key, answer)
            self._shared.put(question.key, answer, (self._clock() - started) // 1000)
        return _Flight(Outcome.MISS, answer)

    def _is_current(self, answer: Answer | None, question: Question) -> TypeGuard[Answer]:
        """Tell whether an answer is fresh, and certain not to be replaced by demand on another gateway."""
        return (
            answer is not None
            and self._clock() - answer.computed_us < question.ttl * 1_000_000
            and answer.checked_us >= question.refreshed_us
        )
