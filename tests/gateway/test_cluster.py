"""Two gateways on a Redis in cluster mode, which refuses a command whose keys are in different slots."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from gateway_factories import OVERVIEW, RunGateway, Services, make_tenant, make_token, until

from voice_common.mongo import Database
from voice_common.store.tenants import AreaName
from voice_local.servers import free_port, redis_command, redis_url


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[redis.Redis]:
    """Give a client of a cluster of one node, which has all slots."""
    port = free_port()
    command = [*redis_command(tmp_path, port), "--cluster-enabled", "yes", "--cluster-port", str(free_port())]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    client = redis.Redis.from_url(redis_url(port))
    try:
        deadline = time.monotonic() + 10
        while not serves(client):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        yield client
    finally:
        client.close()
        process.terminate()
        process.wait(10)


def serves(client: redis.Redis) -> bool:
    try:
        if client.cluster("INFO").get("cluster_slots_assigned") != "16384":
            client.execute_command("CLUSTER", "ADDSLOTSRANGE", "0", "16383")  # type: ignore[no-untyped-call]
        return bool(client.cluster("INFO")["cluster_state"] == "ok")
    except redis.ConnectionError:
        return False


async def test_limits_and_cache_are_shared_by_gateways_on_redis_cluster(
    cluster: redis.Redis, run_gateway: RunGateway, services: Services, database: Database
) -> None:
    with pytest.raises(redis.ResponseError, match="slot"):  # it is as strict as a cluster is
        cluster.eval("return 1", 2, "voice:limit:acme", "voice:refreshed:acme")
    token = await make_token(database, await make_tenant(database, limits={AreaName.ANALYTICS: 4}))
    port = cluster.connection_pool.connection_kwargs["port"]
    async with run_gateway(redis_url=redis_url(port)) as one, run_gateway(redis_url=redis_url(port)) as two:
        await one.until_exact()
        await two.until_exact()
        first = await one.get(OVERVIEW, token)
        await until(lambda: cluster.exists("voice:cache:{answers}:sizes") == 1)
        second = await two.get(OVERVIEW, token)
        assert (first.headers["X-Cache"], second.headers["X-Cache"]) == ("MISS", "HIT")
        fresh = await two.get(OVERVIEW, token, {"Cache-Control": "no-cache"})
        again = await one.get(OVERVIEW, token)
        assert fresh.body == again.body != first.body
        assert len(services.analytics.seen) == 2
        assert (await one.get(OVERVIEW, token)).status == 429
        assert cluster.keys("voice:refreshed:*") != []
