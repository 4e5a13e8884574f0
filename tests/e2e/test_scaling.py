"""What sharding by tenant and call, and Redis Cluster, ask of the keys."""

from __future__ import annotations

import re

from e2e_factories import World, until
from redis.crc import key_slot
from settings_table import ROOT

from voice_common.store.access import COLLECTIONS
from voice_common.store.tenants import AreaName
from voice_gateway import limiter, shared_level
from voice_local.simulation.delivery import planned

RUNBOOK = (ROOT / "docs/operations.md").read_text()
SHARDED = set(re.findall(r'"(\w+)"', *re.findall(r"for \(const name of \[(.*)\]\)", RUNBOOK)))
"""The collections that grow with calls: the runbook shards them by ``_id``, which begins with the tenant."""


def test_the_runbook_says_of_each_collection_whether_it_is_sharded() -> None:
    (stay,) = re.findall(r"Small collections \((.*)\) stay", RUNBOOK)
    small = set(re.findall(r"`(\w+)`", stay))
    assert SHARDED
    assert not SHARDED & small
    assert SHARDED | small == set(COLLECTIONS)


async def test_every_unique_index_begins_with_the_shard_key(world: World) -> None:
    (customer,) = await world.customer()
    calls = world.calls_of(customer, count=20)
    await world.send(planned(calls))

    async def projected() -> bool:
        return await world.database["rollups"].find_one() is not None

    await until(projected)
    seen = set(await world.database.list_collection_names())
    assert seen >= SHARDED - {"retired"}
    for name in sorted(seen):
        indexes = await world.database[name].index_information()
        unique = [index for index, about in indexes.items() if about.get("unique")]
        assert unique == [], f"{name}: uniqueness is _id's alone, which is the shard key"
        if name in SHARDED:
            async for document in world.database[name].find({}, {"_id": 1}).limit(5):
                assert next(iter(document["_id"])) == "tenant", f"{name}: {document['_id']}"


def test_the_keys_of_one_script_share_a_slot_of_redis_cluster() -> None:
    for tenant in ("acme", "t-1.x_y", "203.0.113.9"):
        window = {limiter.window_key(tenant, area) for area in (*AreaName, "failures")}
        assert len({key_slot(key) for key in (*window, limiter.refreshed_key(tenant))}) == 1
    entries = {shared_level._name(key) for key in ("acme:1:overview?", "other:2:timeline?", "index", "sizes", "bytes")}
    assert len({key_slot(key) for key in (*entries, shared_level._turn("acme:1:overview?"))}) == 1
