"""Deleting a tenant: its access at once, then its data, then its id is free again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from voice_common.mongo import Database
from voice_common.store.keys import within
from voice_common.store.tenants import DIRECTORY_MAX_AGE, TenantStore
from voice_gateway.recall import MAX_AGE

COLLECTIONS = (
    "events",
    "conversations",
    "parked",
    "aliases",
    "retired",
    "set_aside",
    "rollups",
    "dirty_hours",
    "horizons",
    "claim_uses",
)
"""What holds a tenant's data; every key there begins with the tenant."""

SETTLING = 0.05
"""Seconds added to the age of what may be cached, for clocks that tick differently."""

LONGEST_WRITE = 20.0
"""Seconds for which what began to write of a tenant may go on: no transaction of a service is given more."""

_BATCH = 1000


async def delete_tenant(database: Database, tenant: str, *, progress: Callable[[int], None]) -> int:
    """Delete a tenant with all of its data; give how many documents that were, `progress` is told some at a time.

    Returns when no process remembers the tenant or is writing of it any more, some 20 s later: its id can be used
    again without any of them taking the new one for the old. Repeating it is safe. Raises `UnknownTenantError`.
    """
    store = TenantStore(database)
    await store.mark_deleted(tenant)
    clock = asyncio.get_running_loop().time
    marked_at = clock()
    await asyncio.sleep(DIRECTORY_MAX_AGE + SETTLING)  # from now on nobody begins to store anything of it
    deleted = await _sweep(database, tenant, progress)
    # What had begun before lands behind that sweep, and must not be found by whoever has the id next.
    settled_at = marked_at + max(DIRECTORY_MAX_AGE + LONGEST_WRITE, MAX_AGE) + SETTLING
    await asyncio.sleep(max(0.0, settled_at - clock()))
    deleted += await _sweep(database, tenant, progress)
    await store.forget(tenant)
    return deleted


async def count_documents(database: Database, tenant: str) -> int:
    """Count what `delete_tenant` has to delete."""
    return sum([await database[name].count_documents({"_id": within(tenant=tenant)}) for name in COLLECTIONS])


async def _sweep(database: Database, tenant: str, progress: Callable[[int], None]) -> int:
    """Delete a tenant's documents until none is left; give how many there were."""
    deleted = 0
    while found := sum([await _delete_batches(database, name, tenant, progress) for name in COLLECTIONS]):
        deleted += found
    return deleted


async def _delete_batches(database: Database, name: str, tenant: str, progress: Callable[[int], None]) -> int:
    """Delete a tenant's documents of one collection, some at a time so that no call outlives its time-out."""
    deleted = 0
    while keys := [
        document["_id"]
        async for document in database[name].find({"_id": within(tenant=tenant)}, {"_id": 1}).limit(_BATCH)
    ]:
        result = await database[name].delete_many({"_id": {"$in": keys}})
        deleted += result.deleted_count
        progress(result.deleted_count)
    return deleted
