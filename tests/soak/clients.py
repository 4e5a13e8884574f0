"""The clients: senders of webhooks, readers, one who knocks without a token and one who asks for too much."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random

import aiohttp

from soak.calls import Event, make_call
from soak.ledger import Answer, Ledger
from soak.marks import Mark
from voice_common.times import now_ms
from voice_local.simulation.delivery import Signer

ANALYTICS = "/api/voice/analytics"
CONVERSATIONS = "/api/conversations"
RECORDINGS = "/api/voice/recordings"
FRESH = {"Cache-Control": "no-cache"}
_TELNYX_WAITS = aiohttp.ClientTimeout(total=2)
_READER_WAITS = aiohttp.ClientTimeout(total=15)
_CALLS_AT_ONCE = 2
_REMEMBERED = 500
_NEVER_TAKEN_SECONDS = 120.0
UNKNOWN_TOKEN = "vst_" + "x" * 43


@dataclass(frozen=True)
class Customer:
    """A tenant with a token, and the connection that its events name."""

    mark: Mark
    token: str
    connection: str

    @property
    def authorization(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}


@dataclass
class Traffic:
    """All clients together; they go on until `stop`, and rest when they are told to."""

    base_url: str
    session: aiohttp.ClientSession
    signer: Signer
    ledger: Ledger
    seed: int
    rate: float
    stopping: bool = False
    _going: asyncio.Event = field(default_factory=asyncio.Event)
    _busy: int = 0
    _idle: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(
        self, customers: Sequence[Customer], metered: Customer, internal: Sequence[str], senders: int
    ) -> None:
        """Run all clients until `stop`."""
        self._going.set()
        everybody = senders * len(customers)
        work = [self._send(each, number, everybody / self.rate) for each in customers for number in range(senders)]
        work += [self._read(each, customers) for each in customers]
        connector = aiohttp.TCPConnector(local_addr=("127.0.0.2", 0))
        async with aiohttp.ClientSession(connector=connector) as stranger, asyncio.TaskGroup() as group:
            for job in (*work, self._knock(stranger, internal), self._hammer(metered)):
                group.create_task(job)

    def stop(self) -> None:
        """Let the clients end; senders finish what they have begun."""
        self.stopping = True
        self._going.set()

    async def rest(self, seconds: float) -> None:
        """Have the senders finish the calls that they have begun and rest; raise `TimeoutError`."""
        self._going.clear()
        async with asyncio.timeout(seconds):
            while self._busy:
                self._idle.clear()
                await self._idle.wait()

    def resume(self) -> None:
        """Let the senders go on."""
        self._going.set()

    async def ask(self, path: str, headers: Mapping[str, str], session: aiohttp.ClientSession | None = None) -> Answer:
        """GET once."""
        url = path if path.startswith("http") else self.base_url + path
        try:
            async with (session or self.session).get(url, headers=headers, timeout=_READER_WAITS) as response:
                return Answer(response.status, await response.read(), response.headers)
        except (aiohttp.ClientError, TimeoutError):
            return Answer(None)

    async def see(self, customer: Customer, path: str, *, expected: frozenset[int], **more: str) -> Answer:
        """GET as a tenant; the answer goes through the ledger."""
        sent = self.ledger.now
        answer = await self.ask(path, {**customer.authorization, **more})
        self.ledger.answered("reader", path, sent, answer, expected=set(expected))
        self.ledger.shown(customer.mark, path, answer)
        return answer

    async def _send(self, customer: Customer, number: int, pause: float) -> None:
        rng = Random(f"{self.seed}/{customer.mark.word}/{number}")  # noqa: S311 - no secret
        remembered: list[Event] = []
        while True:
            await self._going.wait()
            if self.stopping:
                return
            self._busy += 1
            try:
                await self._tell(customer, rng, remembered, pause)
            finally:
                self._busy -= 1
                self._idle.set()

    async def _tell(self, customer: Customer, rng: Random, remembered: list[Event], pause: float) -> None:
        """Send some calls, their events in any order, some twice, with some of long ago in between."""
        calls = [make_call(customer.mark, customer.connection, rng, now_ms()) for _ in range(_CALLS_AT_ONCE)]
        self.ledger.begun[customer.mark] += calls
        events = [event for call in calls for event in call.events]
        events += rng.sample(events, len(events) // 10)
        events += rng.sample(remembered, min(2, len(remembered)))
        if rng.random() < 0.7:
            rng.shuffle(events)
        for event in events:
            await self._deliver(customer.mark, event)
            await asyncio.sleep(pause)
        remembered += rng.sample(events, 3)
        del remembered[:-_REMEMBERED]

    async def _deliver(self, mark: Mark, event: Event) -> None:
        """Deliver until it is acknowledged, as Telnyx does, only sooner."""
        begun, pause = self.ledger.now, 0.05
        while True:
            sent = self.ledger.now
            answer = await self._post(event)
            self.ledger.answered("webhook", event.path, sent, answer, expected={200})
            if answer.status == 200:
                self.ledger.acknowledged(mark, event, answer.json()["status"])
                return
            if self.ledger.now - begun > _NEVER_TAKEN_SECONDS:
                self.ledger.violated("every event is taken in the end", (event.id, answer))
                return
            await asyncio.sleep(pause)
            pause = min(2 * pause, 0.5)

    async def _post(self, event: Event) -> Answer:
        headers = self.signer.headers(event.body)
        url = self.base_url + event.path
        try:
            async with self.session.post(url, data=event.body, headers=headers, timeout=_TELNYX_WAITS) as response:
                return Answer(response.status, await response.read(), response.headers)
        except (aiohttp.ClientError, TimeoutError):
            return Answer(None)

    async def _read(self, customer: Customer, everybody: Sequence[Customer]) -> None:
        rng = Random(f"{self.seed}/{customer.mark.word}/reader")  # noqa: S311 - no secret
        tags: dict[str, str] = {}
        others = [each for each in everybody if each != customer]
        while not self.stopping:
            own = self.ledger.begun[customer.mark]
            theirs = self.ledger.begun[rng.choice(others).mark]
            if own and rng.random() < 0.4:
                path = rng.choice((CONVERSATIONS + "/{}", CONVERSATIONS + "/{}/messages", RECORDINGS + "/{}"))
                await self.see(customer, path.format(rng.choice(own).id), expected=frozenset({200, 404}))
            elif theirs and rng.random() < 0.2:
                path = rng.choice((CONVERSATIONS + "/{}", CONVERSATIONS + "/{}/messages", RECORDINGS + "/{}"))
                path = path.format(rng.choice(theirs).id)
                answer = await self.see(customer, path, expected=frozenset({404}))
                if answer.status == 404 and answer.json() != {"error": "Conversation not found"}:
                    self.ledger.violated("another tenant's call does not exist", (path, answer.body))
            else:
                kind = rng.choice(("overview", "detailed", "timeline", "timeline?bucket=hour", "list"))
                path = f"{CONVERSATIONS}?limit=20" if kind == "list" else f"{ANALYTICS}/{kind}"
                more = FRESH if rng.random() < 0.5 else {}
                if path in tags and rng.random() < 0.2:
                    more = {**more, "If-None-Match": tags[path]}
                answer = await self.see(customer, path, expected=frozenset({200, 304}), **more)
                if "ETag" in answer.headers:
                    tags[path] = answer.headers["ETag"]
            await asyncio.sleep(rng.uniform(0.05, 0.3))

    async def _knock(self, session: aiohttp.ClientSession, internal: Sequence[str]) -> None:
        """Ask without a token, with a wrong one, and a service itself without the gateway's identity."""
        tokens: Sequence[Mapping[str, str]] = (
            {},
            {"Authorization": f"Bearer {UNKNOWN_TOKEN}"},
            {"Authorization": "Basic abc"},
        )
        paths = (f"{ANALYTICS}/overview", CONVERSATIONS, f"{RECORDINGS}/x", *internal)
        for number in itertools.count():
            if self.stopping:
                return
            path, sent = paths[number % len(paths)], self.ledger.now
            answer = await self.ask(path, tokens[number % 3], session)
            if answer.status is not None and answer.status < 400:
                self.ledger.violated("nobody passes without a good token", (path, answer.status, answer.body[:200]))
            self.ledger.answered("stranger", path, sent, answer, expected={401, 429})
            await asyncio.sleep(0.3)

    async def _hammer(self, metered: Customer) -> None:
        """Ask for more than the limit allows."""
        while not self.stopping:
            sent = self.ledger.now
            answer = await self.ask(CONVERSATIONS, metered.authorization)
            self.ledger.answered("hammer", CONVERSATIONS, sent, answer, expected={200, 429})
            if answer.status == 200:
                self.ledger.admitted.append((sent, self.ledger.now))
            elif answer.status == 429 and not answer.headers.get("Retry-After", "").isdigit():
                self.ledger.violated("a 429 says when to try again", dict(answer.headers))
            await asyncio.sleep(0.15)


async def repeatedly(
    check: Callable[[], Awaitable[str | None]], *, seconds: float, ledger: Ledger
) -> tuple[float, str]:
    """Check until there is nothing to complain of; give the seconds that took, and the last complaint."""
    begun = ledger.now
    while (complaint := await check()) is not None:
        if ledger.now - begun > seconds:
            return ledger.now - begun, complaint
        await asyncio.sleep(0.2)
    return ledger.now - begun, ""
