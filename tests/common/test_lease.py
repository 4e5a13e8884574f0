"""The lease: one holder at a time, by the server's clock."""

from __future__ import annotations

import asyncio

from voice_common.lease import LEASES, Lease
from voice_common.mongo import Database

SOON = 5.0


async def until_held(lease: Lease) -> None:
    async with asyncio.timeout(SOON):
        while not await lease.held():  # noqa: ASYNC110 - the event is in the server
            await asyncio.sleep(0.01)


async def test_only_one_of_many_holds_it(database: Database) -> None:
    leases = [Lease(database, "work", seconds=60) for _ in range(5)]
    assert sum(await asyncio.gather(*(lease.held() for lease in leases))) == 1
    assert sum([await lease.held() for lease in leases]) == 1


async def test_it_is_renewed_while_it_is_used(database: Database) -> None:
    first, second = Lease(database, "work", seconds=0.5), Lease(database, "work", seconds=0.5)
    for _ in range(20):
        assert await first.held()
        assert not await second.held()
        await asyncio.sleep(0.05)


async def test_a_dead_holders_lease_runs_out(database: Database) -> None:
    dead, next_one = Lease(database, "work", seconds=0.2), Lease(database, "work", seconds=0.2)
    assert await dead.held()
    await until_held(next_one)


async def test_a_lease_that_is_given_back_is_free_at_once(database: Database) -> None:
    first, second = Lease(database, "work", seconds=60), Lease(database, "work", seconds=60)
    assert await first.held()
    await first.release()
    assert await second.held()
    await first.release()  # no longer its own to give back
    assert await database[LEASES].count_documents({}) == 1
