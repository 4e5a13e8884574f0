from __future__ import annotations

import asyncio
import signal
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from pausing import pause
from pymongo.errors import AutoReconnect, BulkWriteError
from webhooks_factories import T0, Signer, event, start_service, until

from voice_common.errors import Unavailable
from voice_common.mongo import Database, connect
from voice_common.store.events import EventStore, StoredEvent
from voice_common.store.tenants import Claim, ClaimKind, Tenant, TenantStore
from voice_local.servers import start_mongod
from voice_webhooks.intake import Intake, Numbered, Stored
from voice_webhooks.workers import Registration, WorkerStore


def one(name: str, body: bytes = b"{}") -> StoredEvent:
    return StoredEvent("acme", "session:s1", name, "call.unknown", T0, T0, "key", body)


class Committed:
    def __init__(self) -> None:
        self.events: list[tuple[str, int, str]] = []

    def __call__(self, worker: str, events: Sequence[Numbered]) -> None:
        self.events += [(worker, seq, stored.event) for seq, stored in events]


@pytest.fixture
def committed() -> Committed:
    return Committed()


@pytest.fixture
async def intake(database: Database, committed: Committed) -> Intake:
    registration = Registration(WorkerStore(database))
    return Intake(database, registration, committed, max_events=1000, max_bytes=1 << 20)


async def test_events_that_arrive_while_a_commit_is_under_way_go_as_one_batch(
    intake: Intake, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    insert = EventStore.insert

    async def counted(self: EventStore, documents: list[dict[str, Any]]) -> Any:
        sizes.append(len(documents))
        return await insert(self, documents)

    monkeypatch.setattr(EventStore, "insert", counted)
    intake.start()
    first = asyncio.create_task(intake.submit(one("first")))
    await until(lambda: asyncio.sleep(0, bool(sizes)))
    rest = await asyncio.gather(*(intake.submit(one(f"e{number}")) for number in range(99)))
    assert [await first, *rest] == [Stored.ACCEPTED] * 100
    assert sizes[0] == 1
    assert len(sizes) <= 3
    assert await database["events"].count_documents({}) == 100
    await intake.drain()


async def test_duplicates_are_told_apart_inside_a_batch_and_against_the_store(
    intake: Intake, committed: Committed
) -> None:
    intake.start()
    assert await intake.submit(one("a")) is Stored.ACCEPTED
    outcomes = await asyncio.gather(*(intake.submit(one(name)) for name in ("a", "b", "b", "c")))
    assert outcomes == [Stored.DUPLICATE, Stored.ACCEPTED, Stored.DUPLICATE, Stored.ACCEPTED]
    assert [name for _, _, name in committed.events] == ["a", "b", "c"]
    await intake.drain()


async def test_a_full_queue_refuses_instead_of_growing(database: Database, committed: Committed) -> None:
    intake = Intake(database, Registration(WorkerStore(database)), committed, max_events=2, max_bytes=1 << 20)
    waiting = [asyncio.create_task(intake.submit(one(name))) for name in ("a", "b")]
    await asyncio.sleep(0)
    with pytest.raises(Unavailable):
        await intake.submit(one("c"))
    intake.start()
    assert await asyncio.gather(*waiting) == [Stored.ACCEPTED] * 2
    await intake.drain()


async def test_what_is_queued_when_it_drains_is_committed(intake: Intake, database: Database) -> None:
    waiting = [asyncio.create_task(intake.submit(one(f"e{number}"))) for number in range(10)]
    await asyncio.sleep(0)
    intake.start()
    await intake.drain()
    assert await asyncio.gather(*waiting) == [Stored.ACCEPTED] * 10
    assert await database["events"].count_documents({}) == 10
    with pytest.raises(Unavailable):
        await intake.submit(one("late"))


@pytest.mark.parametrize(
    "failure",
    [
        AutoReconnect("gone"),
        BulkWriteError(
            {"writeErrors": [{"index": 0, "code": 11000}], "writeConcernErrors": [{"code": 64, "errmsg": "timed out"}]}
        ),
    ],
)
async def test_an_uncertain_outcome_acknowledges_nobody_and_the_worker_takes_a_new_id(
    intake: Intake, committed: Committed, monkeypatch: pytest.MonkeyPatch, failure: Exception
) -> None:
    failures = [failure]

    class Collection:
        def __init__(self, real: Any) -> None:
            self._real = real

        async def insert_many(self, documents: Any, *, ordered: bool) -> Any:
            await self._real.insert_many(documents, ordered=ordered)
            if failures:
                raise failures.pop()

    monkeypatch.setattr(intake._events, "_durable", Collection(intake._events._durable))
    intake.start()
    outcomes = await asyncio.gather(*(intake.submit(one(name)) for name in ("a", "b")), return_exceptions=True)
    uncertain = [outcome for outcome in outcomes if isinstance(outcome, Unavailable)]
    assert uncertain
    before = intake._registration.retired
    assert len(before) == 1
    assert await intake.submit(one("c")) is Stored.ACCEPTED
    assert {worker for worker, _, name in committed.events if name == "c"}.isdisjoint(before)
    await intake.drain()


async def test_a_store_that_is_stopped_gives_503_in_time_and_nothing_acknowledged_is_lost(tmp_path: Path) -> None:
    server = start_mongod(tmp_path / "db", cache_gb=0.25)
    client = connect(server.url, timeout_seconds=5)
    database = client["stopped"]
    tenants = TenantStore(database)
    await tenants.create_indexes()
    await tenants.create(Tenant("acme", "Acme", claims=(Claim(ClaimKind.CONNECTION, "1001"),)))
    service, stop = await start_service(database, server.url, Signer())
    loop = asyncio.get_running_loop()

    def call(number: int) -> dict[str, Any]:
        return event("call.initiated", id=f"e{number}", connection_id="1001", call_session_id=f"s{number}")

    try:
        assert await service.status(call(1)) == "accepted"
        pause(server.process)
        for number in (2, 3):
            asked_at = loop.time()
            response = await service.post(call(number))
            assert loop.time() - asked_at < 1.5
            assert response.status == 503
            assert int(response.headers["Retry-After"]) >= 1
            assert list(await response.json()) == ["error"]
        server.process.send_signal(signal.SIGCONT)

        async def accepted() -> bool:
            return (await service.post(call(4))).status == 200

        await until(accepted, seconds=15)
        durable = {document["_id"]["event"] async for document in database["events"].find({})}
        assert durable >= {"e1", "e4"}
        for name in durable:  # also what was answered with 503 and landed after all
            await until(partial(service.conversation, name.replace("e", "s")), seconds=15)
    finally:
        server.process.send_signal(signal.SIGCONT)
        await stop()
        await client.close()
        server.stop()


async def test_an_id_that_is_retired_while_it_is_renewed_does_not_come_back(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    registration = Registration(WorkerStore(database))
    await registration.renew(0)
    old = registration.id
    renew = WorkerStore.renew

    async def retired_meanwhile(self: WorkerStore, worker: str, checkpoint: int) -> None:
        await renew(self, worker, checkpoint)
        registration.retire()

    monkeypatch.setattr(WorkerStore, "renew", retired_meanwhile)
    await registration.renew(7)
    assert not registration.is_certain
    monkeypatch.setattr(WorkerStore, "renew", renew)
    await registration.renew(7)
    assert registration.is_certain
    assert registration.id != old
    assert old in registration.retired
