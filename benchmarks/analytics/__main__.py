"""Runs the analytics benchmark: ``python -m benchmarks.analytics``; ``--quick`` or ``QUICK=1`` stops at 1 million."""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import duckdb
import uvloop

if not __package__:  # run as a folder: the repository's root is not on the path
    sys.path[0] = str(Path(__file__).parents[2])

from benchmarks.analytics.dataset import DATABASE, YEAR_END, YEAR_START, fill
from benchmarks.analytics.peers import Question, ask_duckdb, ask_mongo, ask_ours
from benchmarks.report import print_result, print_table
from voice_analytics.cover import Span
from voice_analytics.query import CallSums
from voice_common.mongo import connect
from voice_common.times import DAY_MS, HOUR_MS
from voice_local.servers import start_mongod

QUICK = "--quick" in sys.argv[1:] or bool(os.environ.get("QUICK"))
SIZES = (100_000, 1_000_000) if QUICK else (100_000, 1_000_000, 10_000_000)
ROUNDS = 5
OURS_SECONDS = 0.03  # ours is so short that one run of it in a round says little
RANGES = {
    "year": Span(YEAR_START, YEAR_END),
    "month": Span(YEAR_START + 31 * DAY_MS, YEAR_START + 59 * DAY_MS),
    "mid-hour": Span(YEAR_START + 10 * HOUR_MS + 1_817_250, YEAR_END - 3 * DAY_MS - 8 * HOUR_MS - 859_001),
}
VIEWS = ("overview", "detailed", "timeline day", "timeline hour")


class Comparison:
    """Times of the three on one question, in milliseconds; `equal` while all answers are the same."""

    def __init__(self) -> None:
        self.ours: list[float] = []
        self.mongo: list[float] = []
        self.duckdb: list[float] = []
        self.equal = True

    def medians(self) -> tuple[float, float, float]:
        """Give the medians of ours, MongoDB's and DuckDB's."""
        return statistics.median(self.ours), statistics.median(self.mongo), statistics.median(self.duckdb)


async def compare(
    call_sums: CallSums, mongo_url: str, tables: duckdb.DuckDBPyConnection, questions: list[Question]
) -> dict[Question, Comparison]:
    """Ask every question of all three, alternating, `ROUNDS` times; the costliest once where no ratio hangs on it."""
    client = connect(mongo_url, timeout_seconds=300)
    compared = {question: Comparison() for question in questions}
    for turn in range(ROUNDS):
        for question, comparison in compared.items():
            if turn and not _is_repeated(question):
                continue
            until = time.perf_counter() + OURS_SECONDS
            while True:
                began = time.perf_counter()
                ours = await ask_ours(call_sums, question)
                comparison.ours.append((time.perf_counter() - began) * 1000)
                if time.perf_counter() > until:
                    break
            began = time.perf_counter()
            theirs = await ask_mongo(client[DATABASE], question)
            comparison.mongo.append((time.perf_counter() - began) * 1000)
            began = time.perf_counter()
            others = ask_duckdb(tables, question)
            comparison.duckdb.append((time.perf_counter() - began) * 1000)
            comparison.equal &= ours == theirs == others
    await client.close()
    return compared


def _is_repeated(question: Question) -> bool:
    if QUICK:
        return question.view == "overview" and question.period != RANGES["month"]
    return question.view == "overview" or question.calls < SIZES[-1]


async def measure(mongo_url: str, folder: Path) -> None:
    """Fill the stores, ask, and print what it took."""
    client = connect(mongo_url, timeout_seconds=300)
    database = client[DATABASE]
    tables = duckdb.connect(str(folder / "calls.duckdb"))
    tables.execute("create type phase as enum ('open', 'completed', 'failed')")
    tables.execute("create type sentiment as enum ('positive', 'neutral', 'negative')")
    for calls in SIZES:
        began = time.perf_counter()
        await fill(database, mongo_url, tables, calls, folder)
        print(f"{calls:,} calls made in {time.perf_counter() - began:.0f} s", flush=True)
    call_sums = CallSums(database, store_seconds=2, scan_seconds=10)
    questions = [Question(view, calls, period) for calls in SIZES for period in RANGES.values() for view in VIEWS]
    compared = await compare(call_sums, mongo_url, tables, questions)
    await client.close()
    names = {period: name for name, period in RANGES.items()}
    rows = []
    for question, comparison in compared.items():
        ours, mongo, duck = comparison.medians()
        figures = (ours, mongo, duck, mongo / ours, duck / ours, "yes" if comparison.equal else "NO")
        rows.append((f"{question.calls:,}", names[question.period], question.view, *figures))
    columns = ["calls", "range", "view", "ours ms", "mongo ms", "duckdb ms", "mongo/ours", "duckdb/ours", "equal"]
    print_table("Analytics: uncached answers, medians", columns, rows)
    few, many = (compared[Question("overview", calls, RANGES["year"])].medians() for calls in (SIZES[0], SIZES[-1]))
    edges = compared[Question("overview", SIZES[-1], RANGES["mid-hour"])].medians()
    print_result(
        {
            "calls": SIZES[-1],
            "mongo_vs_ours": round(many[1] / many[0], 1),
            "duckdb_vs_ours": round(many[2] / many[0], 2),
            "growth_100k": round(many[0] / few[0], 3),
            "edge_added_ms": round(edges[0] - many[0], 2),
            "equal": all(comparison.equal for comparison in compared.values()),
        }
    )


def main() -> None:
    """Run the benchmark on a mongod of its own."""
    with tempfile.TemporaryDirectory(prefix="voice-bench-") as folder:
        server = start_mongod(Path(folder) / "mongo" / "db", cache_gb=2 if QUICK else 6)
        try:
            uvloop.run(measure(server.url, Path(folder)))
        finally:
            server.stop()


if __name__ == "__main__":
    main()
