"""The worker as it runs: a process of its own, or inside the web process."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp.test_utils import TestClient
from analytics_factories import DAY_0, PUBLIC_KEY, Call, World, asking, mark, scan_detailed

from voice_analytics.app import create_app
from voice_analytics.marks import DIRTY_HOURS
from voice_analytics.query import CallSums
from voice_analytics.rollups import ROLLUPS
from voice_analytics.settings import AnalyticsSettings
from voice_common.mongo import Database
from voice_common.times import HOUR_MS, TimeRange, now_ms
from voice_local.servers import Server, free_port

SOON = 25.0


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(SOON):
        while not await condition():  # noqa: ASYNC110 - the event is in another process
            await asyncio.sleep(0.02)


@contextmanager
def worker(mongo_url: str, database: str, port: int, **more: str) -> Iterator[subprocess.Popen[bytes]]:
    environment = {
        **os.environ,
        **more,
        "VOICE_MONGO_URL": mongo_url,
        "VOICE_MONGO_DATABASE": database,
        "VOICE_PORT": str(port),
        "VOICE_ANALYTICS_POLL_SECONDS": "0.05",
    }
    process = subprocess.Popen([sys.executable, "-m", "voice_analytics.worker"], env=environment)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


async def clean(database: Database) -> bool:
    return await database[DIRTY_HOURS].count_documents({}) == 0 and await database[ROLLUPS].count_documents({}) > 0


async def test_the_process_refreshes_shows_its_health_and_stops_cleanly(
    mongo_server: Server, database: Database, call_sums: CallSums
) -> None:
    world, port = World(database), free_port()
    await world.change(*(Call(DAY_0 + n * HOUR_MS) for n in range(30)))
    with worker(mongo_server.url, database.name, port) as process:
        await until(lambda: clean(database))
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as client:
            for path in ("/livez", "/readyz"):
                async with client.get(path) as answer:
                    assert answer.status == 200
            async with client.get("/metrics") as answer:
                assert "voice_rollup_days_refreshed_total" in await answer.text()
        await world.change(Call(DAY_0))
        await until(lambda: clean(database))
        process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(process.wait, 10) == 0
    assert await database["leases"].count_documents({}) == 0
    assert (await call_sums.total("acme", TimeRange(None, None))).calls == 31


async def test_answers_stay_exact_while_workers_are_killed(
    mongo_server: Server, database: Database, call_sums: CallSums
) -> None:
    world = World(database)
    for turn in range(3):
        with worker(mongo_server.url, database.name, free_port()):
            for n in range(15):
                await world.change(*(Call(DAY_0 + (n + turn) * HOUR_MS + m) for m in range(3)))
                assert (await call_sums.total("acme", TimeRange(None, None))).calls == len(world.calls)
        # It was killed, perhaps amid a transaction; its lease is still running.
        assert (await call_sums.total("acme", TimeRange(None, None))).calls == len(world.calls)
        await database["leases"].delete_many({})


def test_a_wrong_setting_is_one_sentence() -> None:
    environment = {**os.environ, "VOICE_ANALYTICS_POLL_SECONDS": "often"}
    ran = subprocess.run(
        [sys.executable, "-m", "voice_analytics.worker"], env=environment, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 2
    assert "VOICE_ANALYTICS_POLL_SECONDS" in ran.stderr
    assert len(ran.stderr.splitlines()) == 1


def test_a_taken_port_is_one_sentence(mongo_server: Server) -> None:
    environment = {**os.environ, "VOICE_PORT": str(mongo_server.port), "VOICE_MONGO_URL": mongo_server.url}
    ran = subprocess.run(
        [sys.executable, "-m", "voice_analytics.worker"], env=environment, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 2
    assert f"127.0.0.1:{mongo_server.port}" in ran.stderr
    assert len(ran.stderr.splitlines()) == 1


async def test_the_web_process_can_keep_the_rollups_itself(
    mongo_server: Server, database: Database, aiohttp_client: Callable[..., Awaitable[TestClient[Any, Any]]]
) -> None:
    settings = AnalyticsSettings(
        mongo_url=mongo_server.url,
        mongo_database=database.name,
        identity_public_keys=[PUBLIC_KEY],
        analytics_worker_in_process=True,
        analytics_poll_seconds=0.02,
    )
    world = World(database)
    await world.change(Call(DAY_0, tools_known=3), Call(DAY_0 + HOUR_MS))
    ask = asking(await aiohttp_client(create_app(settings)))
    await until(lambda: clean(database))
    assert await ask("detailed") == (200, {"metrics": scan_detailed(world.calls.values())})


async def test_a_worker_without_a_store_stops_in_time() -> None:
    with worker(f"mongodb://127.0.0.1:{free_port()}/?replicaSet=rs0", "voice", port := free_port()) as process:

        async def answers() -> bool:
            try:
                async with aiohttp.ClientSession() as client, client.get(f"http://127.0.0.1:{port}/livez") as answer:
                    return answer.status == 200
            except aiohttp.ClientError:
                return False

        await until(answers)
        process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(process.wait, 15) == 0


@pytest.mark.parametrize("point", ["rollup.begun", "rollup.written", "rollup.unmarked", "rollup.committed"])
async def test_answers_stay_exact_when_the_worker_is_killed_between_any_two_steps(
    mongo_server: Server, database: Database, call_sums: CallSums, tmp_path: Path, point: str
) -> None:
    world, fuse = World(database), tmp_path / "fuse"
    fuse.touch()
    await world.change(*(Call(DAY_0 + n * HOUR_MS) for n in range(30)))

    async def exact() -> bool:
        return (await call_sums.total("acme", TimeRange(None, None))).calls == len(world.calls)

    faults = {"VOICE_FAULT_POINT": point, "VOICE_FAULT_FUSE": str(fuse)}
    with worker(mongo_server.url, database.name, free_port(), **faults) as process:
        assert await asyncio.to_thread(process.wait, 20) == -signal.SIGKILL
    assert await exact()
    await world.change(Call(DAY_0 + 5 * HOUR_MS))
    assert await exact()
    await database["leases"].delete_many({})  # the next one would wait for the dead one's lease to run out
    with worker(mongo_server.url, database.name, free_port()):
        await until(lambda: clean(database))
        assert await exact()


async def test_the_age_of_the_oldest_mark_is_shown_whoevers_turn_it_is(
    mongo_server: Server, database: Database
) -> None:
    world, port = World(database), free_port()
    await database["leases"].insert_one(
        {"_id": "rollups", "holder": "another", "until": datetime.now(UTC) + timedelta(hours=1)}
    )
    await world.change(Call(DAY_0))
    await database[DIRTY_HOURS].update_many({}, {"$set": {"at": now_ms() - 90_000}})
    await database[DIRTY_HOURS].insert_one({**mark("acme", DAY_0), "at": now_ms()})

    async def lag() -> float:
        async with aiohttp.ClientSession() as client, client.get(f"http://127.0.0.1:{port}/metrics") as answer:
            (value,) = re.findall(r"^voice_rollup_lag_seconds (\S+)$", await answer.text(), re.MULTILINE)
            return float(value)

    async def shows() -> bool:
        try:
            return 90 <= await lag() < 150
        except aiohttp.ClientError:
            return False

    async def shows_nothing() -> bool:
        return await lag() == 0

    with worker(mongo_server.url, database.name, port):
        await until(shows)
        assert await database[ROLLUPS].count_documents({}) == 0  # it was another's turn
        await database["leases"].delete_many({})
        await until(shows_nothing)
    assert await clean(database)
