"""Calls of a year: the same rows in ``conversations``, in rollups, and in a table of DuckDB."""

from __future__ import annotations

import asyncio
import csv
import multiprocessing
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
from pymongo import MongoClient

from voice_analytics.refresh import RollupKeeper
from voice_common.mongo import Database
from voice_common.store.conversations import CONVERSATIONS, VERSION
from voice_common.times import DAY_MS

YEAR_START = 1_735_689_600_000  # 2025-01-01T00:00:00Z
YEAR_END = YEAR_START + 365 * DAY_MS
DATABASE = "voice"

_CHUNK = 50_000
_BATCH = 5_000
_REFRESHES_AT_ONCE = 4  # the server ends transactions that take too long
_PHASES = ("completed",) * 9 + ("failed", "open")
_SENTIMENTS = ("positive", "positive", "neutral", "neutral", "negative", None)

Row = tuple[int, str, int | None, bool, int, int, str | None]


def tenant_of(calls: int) -> str:
    """Give the tenant that has so many calls."""
    return f"calls-{calls}"


def table_of(calls: int) -> str:
    """Give DuckDB's table of the same calls."""
    return f"calls_{calls}"


async def fill(database: Database, mongo_url: str, tables: duckdb.DuckDBPyConnection, calls: int, folder: Path) -> None:
    """Make `calls` calls of one tenant, spread over the year, in both stores, and their rollups."""
    chunks = [(mongo_url, calls, start, folder) for start in range(0, calls, _CHUNK)]
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        files = pool.starmap(_make_chunk, chunks)
    tables.execute(
        f"create table {table_of(calls)} (started_at bigint, phase phase, duration_ms bigint, "
        "recording_available boolean, tools_succeeded integer, tools_known integer, sentiment sentiment)"
    )
    tables.execute(f"copy {table_of(calls)} from '{folder}/{calls}-*.csv'")
    for file in files:
        file.unlink()
    keeper = RollupKeeper(database)
    await keeper.prepare()
    await keeper.build(tenant_of(calls))
    at_once = asyncio.Semaphore(_REFRESHES_AT_ONCE)

    async def refresh(tenant: str, day: int) -> None:
        async with at_once:
            await keeper.refresh(tenant, day)

    while days := await keeper.stale_days():
        await asyncio.gather(*(refresh(tenant, day) for tenant, day in days))


def _rows(calls: int, start: int) -> Iterator[Row]:
    draw = random.Random(calls + start).random  # noqa: S311 - made-up calls
    for _ in range(start, min(start + _CHUNK, calls)):
        known = int(draw() * 4)
        phase = _PHASES[int(draw() * len(_PHASES))]
        yield (
            YEAR_START + int(draw() * (YEAR_END - YEAR_START)),
            phase,
            1_000 + int(draw() * 600_000) if phase == "completed" else None,
            draw() < 0.8,
            int(draw() * (known + 1)),
            known,
            _SENTIMENTS[int(draw() * len(_SENTIMENTS))],
        )


def _make_chunk(mongo_url: str, calls: int, start: int, folder: Path) -> Path:
    rows = list(_rows(calls, start))
    with MongoClient[dict[str, Any]](mongo_url, w=1, journal=False) as client:
        conversations = client[DATABASE][CONVERSATIONS]
        for first in range(0, len(rows), _BATCH):
            conversations.insert_many(
                [
                    {
                        "_id": {"tenant": tenant_of(calls), "session": f"{start + first + place:09x}"},
                        "version": VERSION,
                        "started_at": started_at,
                        "phase": phase,
                        "duration_ms": duration_ms,
                        "recording_available": available,
                        "tools_succeeded": succeeded,
                        "tools_known": known,
                        "sentiment": sentiment,
                    }
                    for place, (started_at, phase, duration_ms, available, succeeded, known, sentiment) in enumerate(
                        rows[first : first + _BATCH]
                    )
                ],
                ordered=False,
            )
    path = folder / f"{calls}-{start}.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return path
