"""No signed body, whatever is in it, is a 500, is stored by half, stops the projection or blocks the event loop."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import cache
from typing import Any

import pytest
from exploring import SECONDS, Explorer, exploring, say
from fuzz_bodies import CONNECTION, MAX_BODY, Told, body_of, calls, must_be_taken
from fuzz_codings import Sent, ask, every_way
from gateway_factories import make_token
from jsonschema import Draft202012Validator
from pydantic import TypeAdapter
from system_factories import System, running_system
from watchdog import Watchdog
from webhooks_factories import CONVERSATIONAL_AI, VOICE, Signer, event, until
from webhooks_factories import body_of as plain_body_of

from voice_analytics import shapes as analytics
from voice_common.store.tenants import AreaName, Claim, ClaimKind, Tenant, TenantStore
from voice_common.web.shapes import Error
from voice_local.servers import Server
from voice_recordings import shapes as recordings
from voice_webhooks.contribution.sentiment import score_of
from voice_webhooks.shapes import WebhookAnswer

TENANT = "acme"
EXAMPLES = 20
_SHOWN = 50
_STRANGER = Signer()
_sessions = itertools.count(1)


class Fuzzed:
    """The system, a tenant with a token, and what watches the loop."""

    def __init__(self, system: System, token: str, watchdog: Watchdog) -> None:
        self.system = system
        self.token = token
        self.watchdog = watchdog
        self.statuses: Counter[str] = Counter()
        self.late: set[bytes] = set()
        """What may be stored after the next example has begun: answered 503, or released from quarantine just then."""

    async def post(self, told: Told, body: bytes, path: str) -> tuple[int, Any]:
        """Deliver once; give the status and the JSON of the answer."""
        answer = await self.system.post(path, body, _signed(self.system.signer, told, body))
        assert answer.headers["X-Request-ID"]
        document = answer.json()
        assert answer.status in {200, 400, 401, 413, 503}, (answer.status, document)
        if answer.status == 503 or document.get("status") == "quarantined":
            self.late.add(body)
        validate(WebhookAnswer if answer.status == 200 else Error, document)
        self.statuses[document["status"] if answer.status == 200 else str(answer.status)] += 1
        return answer.status, document

    async def read(self, path: str, *shapes: Any) -> Any:
        """Give a body of the API that has one of `shapes`: that of a 200, then that of a 404."""
        reply = await self.system.get(path, self.token, {"Cache-Control": "no-cache"})
        assert reply.status in (200, 404)[: len(shapes)], (path, reply.status, reply.body)
        validate(shapes[reply.status == 404], reply.json())
        return reply.json()

    async def projected(self) -> None:
        """Wait until all that was stored before is projected: events are projected in the order of their numbers."""
        session = f"sentinel-{next(_sessions)}"
        told = event("call.initiated", connection_id=CONNECTION, call_session_id=session)
        body = plain_body_of(told)
        assert (await self.system.post(VOICE, body, self.system.signer.headers(body))).status == 200
        conversations = self.system.database["conversations"]
        await until(lambda: conversations.find_one({"_id": {"tenant": TENANT, "session": session}}, {"_id": 1}))
        await conversations.delete_one({"_id": {"tenant": TENANT, "session": session}})
        await self.system.database["events"].delete_one({"_id.stream": f"session:{session}"})

    async def forget(self) -> None:
        """Begin anew with nothing stored, so that an example alone decides what comes of it."""
        kept = ("events", "conversations", "parked", "aliases", "quarantine", "dirty_hours", "rollups")
        await asyncio.gather(*(self.system.database[name].delete_many({}) for name in kept))
        score_of.cache_clear()


def _signed(signer: Signer, told: Told, body: bytes) -> dict[str, str]:
    if told.signing == "none":
        return {}
    if told.signing == "garbled":
        return signer.headers(body) | {"telnyx-signature-ed25519": ("é" * (told.at % 90)) + "=="}
    if told.signing == "stale":
        return signer.headers(body, timestamp=told.at)
    if told.signing == "other key":
        return _STRANGER.headers(body)
    return signer.headers(body + b" " if told.signing == "other bytes" else body)


@cache
def _validator(shape: Any) -> Draft202012Validator:
    return Draft202012Validator(TypeAdapter(shape).json_schema(mode="serialization"))


def validate(shape: Any, document: Any) -> None:
    _validator(shape).validate(_shortened(document))


def _shortened(document: Any) -> Any:
    """Leave out most of what is long: a transcript of 5,000 lines has 5,000 times one shape."""
    if isinstance(document, dict):
        return {key: _shortened(value) for key, value in document.items()}
    return [_shortened(item) for item in document[:_SHOWN]] if isinstance(document, list) else document


async def check_call(fuzzed: Fuzzed, told: list[Told]) -> None:
    await fuzzed.watchdog.judge(lambda: check_answers_and_stores(fuzzed, told))


async def check_answers_and_stores(fuzzed: Fuzzed, told: list[Told]) -> None:
    await fuzzed.forget()
    session = f"s-{next(_sessions)}"
    bodies = [body_of(one, session) for one in told]
    paths = [VOICE if one.at % 2 else CONVERSATIONAL_AI for one in told]
    answers = await asyncio.gather(*(fuzzed.post(*sent) for sent in zip(told, bodies, paths, strict=True)))
    again = await asyncio.gather(*(fuzzed.post(*sent) for sent in zip(told, bodies, paths, strict=True)))
    await fuzzed.projected()
    database = fuzzed.system.database
    stored = Counter([document["body"] async for document in database["events"].find({}, {"body": 1})])
    held = {document["body"]: document["reason"] async for document in database["quarantine"].find({})}
    assert set(stored.values()) <= {1}, "what is stored is stored once"
    for one, body, (status, document), (second, repeated) in zip(told, bodies, answers, again, strict=True):
        if 503 in {status, second}:
            continue
        assert status == second
        expected = 413 if len(body) > MAX_BODY else 401 if one.signing != "good" else None
        assert expected in {None, status}, document
        if status == 200:
            assert must_be_taken(body) is not False
            if document["status"] == "accepted":
                assert stored[body] == 1
                assert repeated["status"] == "duplicate"
            elif document["status"] == "quarantined":
                assert body in stored or body in held
        else:
            same = {of_same for bytes_, (of_same, _) in zip(bodies, answers, strict=True) if bytes_ == body}
            assert (body in stored) is (200 in same)
            assert (body in held) is (400 in same)
            assert status != 400 or (held[body] and must_be_taken(body) is not True), held[body]
    assert set(stored) | set(held) <= fuzzed.late.union(bodies)
    assert await database["set_aside"].find_one({}) is None
    await check_reads(fuzzed)


async def check_reads(fuzzed: Fuzzed) -> None:
    """Read all that there is of the tenant's calls."""
    page = await fuzzed.read("/api/conversations?limit=200", recordings.ConversationPage)
    assert page["total"] == len(page["conversations"])
    for one in page["conversations"]:
        path = f"/api/conversations/{one['id']}"
        of_recording = (recordings.RecordingAnswer, recordings.NoRecordingAnswer)
        await asyncio.gather(
            fuzzed.read(path, recordings.ConversationAnswer),
            fuzzed.read(f"{path}/messages", list[recordings.Message]),
            fuzzed.read(f"/api/voice/recordings/{one['id']}", *of_recording),
        )
    # That their figures are exact is shown elsewhere; what was forgotten here can still be in a rollup.
    reports = {"overview": analytics.Overview, "detailed": analytics.Detailed, "timeline": analytics.Timeline}
    await asyncio.gather(*(fuzzed.read(f"/api/voice/analytics/{name}", shape) for name, shape in reports.items()))


@pytest.fixture
def explorer(mongo_server: Server, redis_server: Server) -> Iterator[Explorer[Fuzzed]]:
    @asynccontextmanager
    async def fuzzed() -> AsyncIterator[Fuzzed]:
        async with running_system(mongo_server.url, redis_server.url) as system:
            claims = (Claim(ClaimKind.CONNECTION, CONNECTION),)
            limits = dict.fromkeys(AreaName, 1_000_000)
            await TenantStore(system.database).create(Tenant(TENANT, "Acme", limits, claims=claims))
            with Watchdog() as watchdog:
                yield Fuzzed(system, await make_token(system.database, TENANT), watchdog)

    with exploring(fuzzed) as made:
        yield made


def test_whatever_is_in_a_body_its_answer_is_the_contracts_and_what_is_acknowledged_is_kept_and_shown(
    explorer: Explorer[Fuzzed],
) -> None:
    explorer.some(calls, check_call, EXAMPLES)
    assert explorer.subject.statuses.keys() >= {"accepted", "duplicate", "400", "401"}


@pytest.mark.soak
@pytest.mark.timeout(SECONDS + 600)
def test_bodies_of_all_kinds_are_taken_for_a_long_time(explorer: Explorer[Fuzzed]) -> None:
    explorer.many(calls, check_call, SECONDS)
    fuzzed = explorer.subject
    say(f"{explorer.count} calls: {dict(fuzzed.statuses)}; longest callback {fuzzed.watchdog.longest:.3f} s of CPU")


async def test_however_webhooks_are_coded_and_framed_nothing_fails_and_an_honest_sender_beside_them_loses_nothing(
    mongo_server: Server, redis_server: Server
) -> None:
    async with running_system(mongo_server.url, redis_server.url) as system:
        claims = (Claim(ClaimKind.CONNECTION, CONNECTION),)
        await TenantStore(system.database).create(Tenant(TENANT, "Acme", claims=claims))
        answers: dict[Sent, int | None] = {}
        strange = Counter[int | None]()
        waiting = [(one, number) for number, one in enumerate(every_way())]
        honest: list[int] = []
        over = asyncio.Event()

        def body(name: str) -> bytes:
            return plain_body_of(event("call.initiated", id=name, connection_id=CONNECTION, call_session_id=name))

        async def send_honestly() -> None:
            for number in itertools.count():
                mine = body(f"honest-{number}")
                honest.append((await system.post(VOICE, mine, system.signer.headers(mine))).status)
                if over.is_set():
                    return

        async def send_strangely() -> None:
            while waiting:
                one, number = waiting.pop()
                status = await ask(system.gateway.port, one.bytes_of(body(f"strange-{number}"), system.signer))
                answers[one] = status
                strange[status] += 1

        sender = asyncio.create_task(send_honestly())
        await asyncio.gather(*(send_strangely() for _ in range(12)))
        over.set()
        await sender
        assert set(honest) == {200}, Counter(honest)
        assert strange.keys() <= {200, 400, 401, 417, 501}, strange
        for one, status in answers.items():
            assert (status == 200) is one.is_clean, (one, status)
            assert one.signed or status in {400, 401, 417, 501}, (one, status)
        taken = sum(1 for one in answers if one.is_clean) + len(honest)
        assert await system.database["events"].count_documents({}) == taken
