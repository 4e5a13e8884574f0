"""A backlog of events that nobody projected is worked off while new ones come in; the newest are exact first."""

from __future__ import annotations

import asyncio
import itertools
import os
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest
from webhooks_factories import T0, Service, body_of, event, until

from voice_common.mongo import Database
from voice_common.store.events import StoredEvent
from voice_webhooks.workers import WorkerStore

KINDS = ("call.initiated", "call.answered", "call.bridged", "call.hangup")
SECONDS = float(os.environ.get("VOICE_SOAK_SECONDS", "1200"))
EVENTS = int(os.environ.get("VOICE_SOAK_EVENTS", "1000000"))
_AT_ONCE = 5000


def name_of(call: int) -> str:
    return f"old-{call:07}"


def backlog(calls: int) -> Iterator[dict[str, Any]]:
    """Give the documents of a worker that stored calls and ended before it projected any; in their order."""
    seq = itertools.count(1)
    for call in range(calls):
        ids = {"connection_id": "1001", "call_session_id": name_of(call), "call_leg_id": f"leg-{call}"}
        for step, kind in enumerate(KINDS):
            at = T0 + 1000 * (call + step)
            name = f"{call}-{step}"
            body = body_of(event(kind, at, id=name, **ids))
            stored = StoredEvent("acme", f"session:{name_of(call)}", name, kind, at, at, "key", body)
            yield stored.to_document("dead", next(seq))


async def left_behind(database: Database, calls: int) -> None:
    documents = backlog(calls)
    while page := list(itertools.islice(documents, _AT_ONCE)):
        await database["events"].insert_many(page, ordered=False)
    await WorkerStore(database).renew("dead", 0)
    await WorkerStore(database).end("dead")


async def new_call(service: Service, name: str) -> float:
    """Send a call; give the seconds from its last acknowledgement until it is exact."""
    ids = {"connection_id": "1001", "call_session_id": name, "call_leg_id": f"leg-{name}"}
    for step, kind in enumerate(KINDS):
        await service.deliver(event(kind, T0 + step, id=f"{name}-{step}", **ids))
    acknowledged = time.monotonic()

    async def exact() -> bool:
        call = await service.conversation(name)
        return call is not None and call["ended_at"] == T0 + 3

    await until(exact, seconds=30)
    return time.monotonic() - acknowledged


async def worked_off(service: Service, calls: int, seconds: float) -> list[float]:
    """Send new calls until the backlog is worked off; give how long each took to be exact."""
    conversations = service.database["conversations"]
    delays: list[float] = []
    deadline = time.monotonic() + seconds
    while True:
        done = await conversations.count_documents({"_id.tenant": "acme"}) - len(delays)
        if done == calls:
            return delays
        assert time.monotonic() < deadline, f"{done} of {calls} calls are exact"
        delays.append(await new_call(service, f"new-{len(delays)}"))
        if done < calls:
            assert await is_in_order(service, calls), "the newest calls of the backlog come first"
        await asyncio.sleep(0.05)


async def is_in_order(service: Service, calls: int) -> bool:
    """Tell whether the backlog's oldest call is not projected before its newest."""
    oldest = await service.conversation(name_of(0))
    newest = await service.conversation(name_of(calls - 1))
    return oldest is None or newest is not None


async def test_new_calls_are_exact_while_a_backlog_is_worked_off_from_its_newest_call_on(service: Service) -> None:
    await left_behind(service.database, 1500)
    delays = await worked_off(service, 1500, seconds=60)
    assert delays, "calls came in while the backlog was there"
    ended = service.database["conversations"].count_documents({"phase": "completed"})
    assert await ended == 1500 + len(delays)
    assert await service.database["set_aside"].count_documents({}) == 0


async def test_who_ended_last_is_taken_over_first(service: Service) -> None:
    await left_behind(service.database, 1500)
    late = event("call.initiated", id="late", call_session_id="late", connection_id="1001")
    stored = StoredEvent("acme", "session:late", "late", "call.initiated", T0, T0, "key", body_of(late))
    await service.database["events"].insert_one(stored.to_document("dead-too", 1))
    await WorkerStore(service.database).renew("dead-too", 0)
    await WorkerStore(service.database).end("dead-too")
    await until(lambda: service.conversation("late"), seconds=30)
    assert await service.conversation(name_of(0)) is None, "the backlog is not done yet"


@pytest.mark.soak
@pytest.mark.timeout(0)
async def test_a_million_unprojected_events_are_worked_off_while_new_ones_come_in(service: Service) -> None:
    calls = EVENTS // len(KINDS)
    await left_behind(service.database, calls)
    begun = time.monotonic()
    delays = sorted(await worked_off(service, calls, seconds=SECONDS))
    took = time.monotonic() - begun
    sys.stdout.write(
        f"{4 * calls} events in {took:.0f} s: {4 * calls / took:.0f} a second; {len(delays)} new calls meanwhile, "
        f"exact after {delays[len(delays) // 2]:.2f} s (median), {delays[-1]:.2f} s (longest)\n"
    )
