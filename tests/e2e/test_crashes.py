"""A killed service is soon there again, and nothing that was acknowledged is lost."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path

import aiohttp
import pytest
from e2e_factories import World, descendants, is_alive, until

from voice_local.simulation import oracle
from voice_local.simulation.delivery import planned

SERVICES = ("webhooks", "gateway", "recordings", "analytics")


async def kill(world: World, service: str) -> None:
    """Kill a service's master; it must take all below it with it and serve again within 5 seconds."""
    before = world.stack.described()["services"][service]
    below = descendants(before["pid"])
    assert len(below) >= 2  # two workers; those of webhooks can have a verifier each
    os.kill(before["pid"], signal.SIGKILL)
    killed = time.monotonic()

    async def serves_again() -> bool:
        now = world.stack.described()["services"][service]
        async with world.session.get(f"{now['url']}/readyz", timeout=aiohttp.ClientTimeout(total=1)) as response:
            return bool(now["pid"] != before["pid"] and is_alive(now["pid"]) and response.status == 200)

    await until(serves_again, seconds=5)
    assert time.monotonic() - killed < 5
    assert not [process for process in below if is_alive(process)]


async def test_nothing_acknowledged_is_missing_after_each_service_was_killed(world: World) -> None:
    (customer,) = await world.customer()
    calls = world.calls_of(customer, count=60)
    deliveries = planned(calls, shuffle=True, duplicates=0.1)
    of_them = {"_id.tenant": customer.tenant.id}
    for place, service in enumerate(SERVICES):
        part = deliveries[place :: len(SERVICES)]
        stored = await world.database["events"].count_documents(of_them)

        async def under_way(stored: int = stored) -> bool:
            return await world.database["events"].count_documents(of_them) > stored + 20

        sending = asyncio.create_task(world.send(part, rate=150))
        await until(under_way)
        assert not sending.done()
        await kill(world, service)
        receipt = await sending
        assert receipt.accepted + receipt.duplicate == len(part)

    async def figures_equal() -> bool:
        answer = await world.fresh("/api/voice/analytics/detailed", customer)
        assert answer["metrics"] == oracle.metrics(calls)
        return True

    await until(figures_equal, seconds=15)
    events = {event.id for call in calls for event in call.events}
    found = world.database["events"].find(of_them, {"_id": 1})
    assert {document["_id"]["event"] async for document in found} == events


@pytest.mark.parametrize("store", ["mongod", "redis"])
async def test_a_killed_store_is_started_again_with_its_data(world: World, store: str) -> None:
    (customer,) = await world.customer()
    before = world.stack.described()[f"{store}_pid"]
    os.kill(before, signal.SIGKILL)

    async def serves_again() -> bool:
        pid = world.stack.described()[f"{store}_pid"]
        answer = await world.get("/api/conversations", customer)
        return bool(pid != before and is_alive(pid) and answer.status == 200)

    await until(serves_again, seconds=15)


async def test_all_services_serve_again_after_the_process_that_forks_them_was_killed(world: World) -> None:
    before = world.stack.described()["services"]
    nursery = int(Path(f"/proc/{before['gateway']['pid']}/stat").read_text().rsplit(")", 1)[1].split()[1])
    assert nursery != world.stack.process.pid
    os.kill(nursery, signal.SIGKILL)

    async def serve_again() -> bool:
        now = world.stack.described()["services"]
        assert not {service["pid"] for service in now.values()} & {service["pid"] for service in before.values()}
        for service in now.values():
            async with world.session.get(f"{service['url']}/readyz") as response:
                assert response.status == 200
        return True

    await until(serve_again, seconds=15)
