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

_PATIENCE_SECONDS = 1.0
"""How long analytics may take before an old answer is given where there is one (contract §4)."""

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
class _Landed:
    """What came of a flight; the outcome is STALE where analytics could not answer."""

    outcome: Outcome
    result: Answer | Fetched | VoiceError


class _Flight:
    """A look for a report that all who ask for it meanwhile share."""

    __slots__ = ("checked_us", "due", "keeps", "kept", "task")

    def __init__(self, question: Question, now_us: int) -> None:
        self.checked_us = max(now_us, question.refreshed_us)
        """No replacement by demand before this is missed by what it brings."""
        self.keeps = not question.no_store
        """Whether anybody who shares it lets its answer be kept."""
        self.due = asyncio.get_running_loop().time() + _PATIENCE_SECONDS
        self.kept: Answer | None = None
        """The newest answer that was there before, fresh or not."""
        self.task: asyncio.Task[_Landed]


class Cache:
    """Gives answers from memory, from Redis or from analytics."""

    def __init__(self, memory: MemoryLevel, shared: SharedLevel, *, clock: Callable[[], int] = now_us) -> None:
        self._memory = memory
        self._shared = shared
        self._clock = clock
        self._flights: dict[str, _Flight] = {}
        self._hits = CACHE_RESULTS.labels(Outcome.HIT)
        self._apart: set[asyncio.Task[_Landed]] = set()

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
        """Give an answer, or what analytics said instead; raise what `fetch` raises where nothing can be given.

        Who leaves cancels nothing for the others, and what analytics takes too long for is kept for those who come
        later.
        """
        outcome, result = await (self._demanded if question.no_cache else self._shared_by_all)(question, fetch)
        CACHE_RESULTS.labels(outcome).inc()
        if isinstance(result, VoiceError):
            raise result
        return outcome, result

    def grown(self, question: Question, answer: Answer) -> None:
        """Account for a form that was added to a kept answer."""
        if self._memory.get(question.key) is answer:
            self._memory.put(question.key, answer)

    async def _demanded(self, question: Question, fetch: Fetch) -> tuple[Outcome, Answer | Fetched | VoiceError]:
        """Give what analytics says from now on: no flight that began before, and nothing old."""
        task = asyncio.create_task(self._replaced(question, fetch))
        self._apart.add(task)
        task.add_done_callback(self._apart.discard)
        return Outcome.MISS, (await asyncio.shield(task)).result

    async def _shared_by_all(self, question: Question, fetch: Fetch) -> tuple[Outcome, Answer | Fetched | VoiceError]:
        """Give what the flight for this report brings, or what is stale where analytics can't answer in time."""
        while True:
            flight = self._joinable(question) or self._begin(question, fetch)
            await asyncio.wait((flight.task,), timeout=flight.due - asyncio.get_running_loop().time())
            if not flight.task.done() and (kept := self._old(question, flight)) is not None:
                return Outcome.STALE, kept
            landed = await asyncio.shield(flight.task)
            if landed.outcome is Outcome.STALE:
                kept = self._old(question, flight)
                return (Outcome.MISS, landed.result) if kept is None else (Outcome.STALE, kept)
            found = landed.result
            if not isinstance(found, Answer) or found.checked_us >= question.refreshed_us:
                return landed.outcome, found
            # It was found before this gateway could know that it is replaced.

    def _old(self, question: Question, flight: _Flight) -> Answer | None:
        """Give what may be given instead of what analytics should say."""
        kept = self._memory.get(question.key) or flight.kept
        return kept if kept is not None and kept.age(self._clock()) <= STALE_SECONDS else None

    def _joinable(self, question: Question) -> _Flight | None:
        """Give the flight under way, unless an answer of this tenant was replaced by demand since it began."""
        flight = self._flights.get(question.key)
        if flight is None or flight.task.done() or flight.checked_us < question.refreshed_us:
            return None
        flight.keeps = flight.keeps or not question.no_store
        return flight

    def _begin(self, question: Question, fetch: Fetch) -> _Flight:
        flight = self._flights[question.key] = _Flight(question, self._clock())
        flight.task = asyncio.create_task(self._wanted(question, fetch, flight))
        flight.task.add_done_callback(lambda _: self._forget(question.key, flight))
        return flight

    def _forget(self, key: str, flight: _Flight) -> None:
        if self._flights.get(key) is flight:  # and no later one
            del self._flights[key]

    async def _wanted(self, question: Question, fetch: Fetch, flight: _Flight) -> _Landed:
        """Bring what is fresh at either level, else what analytics says."""
        flight.kept, turn = await self._awaited(question)
        if self._is_current(flight.kept, question):
            return _Landed(Outcome.HIT, flight.kept)
        try:
            return await self._fetched(question, fetch, flight)
        finally:
            if turn is not Turn.ANOTHERS:  # also where the answer to `look` came too late
                self._shared.pass_turn(question.key)

    async def _replaced(self, question: Question, fetch: Fetch) -> _Landed:
        """Ask analytics, and have every gateway know that older answers are replaced."""
        landed = await self._fetched(question, fetch, _Flight(question, self._clock()))
        if isinstance(landed.result, Answer) and not question.no_store:
            await self._shared.mark_refreshed(question.tenant, landed.result.computed_us)
        return landed

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

    async def _fetched(self, question: Question, fetch: Fetch, flight: _Flight) -> _Landed:
        """Ask analytics, and keep its answer where somebody wants that (RFC 9111 §5.2.1.5)."""
        started = self._clock()
        try:
            fetched = await fetch()
        except VoiceError as error:
            return _Landed(Outcome.STALE, error)
        except Exception:  # noqa: BLE001 - a flight has no caller of its own: all who wait are told by the result
            _log.exception("analytics can't be asked")
            return _Landed(Outcome.STALE, VoiceError())
        if not fetched.is_answer:
            return _Landed(Outcome.STALE if fetched.is_outage else Outcome.MISS, fetched)
        answer = Answer(fetched.body, started)
        answer.checked_us = max(started, question.refreshed_us)  # whichever gateway's clock is ahead
        if flight.keeps:
            self._memory.put(question.key, answer)
            self._shared.put(question.key, answer, (self._clock() - started) // 1000)
        return _Landed(Outcome.MISS, answer)

    def _is_current(self, answer: Answer | None, question: Question) -> TypeGuard[Answer]:
        """Tell whether an answer is fresh, and certain not to be replaced by demand on another gateway."""
        return (
            answer is not None
            and self._clock() - answer.computed_us < question.ttl * 1_000_000
            and answer.checked_us >= question.refreshed_us
        )
