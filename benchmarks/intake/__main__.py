"""Runs the intake benchmark: ``python -m benchmarks.intake``; ``QUICK=1`` for less than a minute."""

from __future__ import annotations

import base64
import itertools
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pymongo
import uvloop
from nacl.signing import SigningKey

from benchmarks.load import LoadResult, run_load
from benchmarks.report import print_result, print_table
from voice_common.identity import IDENTITY_HEADER, Identity, IdentitySigner, new_key_pair
from voice_common.mongo import connect
from voice_common.store.tenants import Claim, ClaimKind, Tenant, TenantStore
from voice_common.times import now_ms, render_ms
from voice_local.servers import free_port, start_mongod

CONNECTIONS = 128
VARIANTS = ("group", "none", "each")
QUICK = bool(os.environ.get("QUICK"))
RUNS, SECONDS = (5, 2.0) if QUICK else (7, 5.0)
TARGET = "/api/webhooks/telnyx/voice"


def signed_requests(count: int, run: int, signing: SigningKey, identity: str) -> list[bytes]:
    """Make signed events of 1 to 2 KiB, ten to a call, each with an id of its own."""
    rng = random.Random(run)
    timestamp = str(int(time.time()))
    requests = []
    for number in range(count):
        call = f"{run:04}-{number // 10:08}"
        text = "".join(rng.choices("abcdefgh ", k=rng.randrange(500, 1450)))
        payload = {
            "connection_id": "1001", "call_session_id": f"s-{call}", "call_leg_id": f"l-{call}",
            "call_control_id": f"v3:{call}", "client_state": None, "role": "user", "text": text, "is_final": True,
        }  # fmt: skip
        data = {
            "record_type": "event", "event_type": "ai.assistant.transcript", "id": f"{call}-{number % 10}-of-a-delivery",
            "occurred_at": render_ms(now_ms()), "payload": payload,
        }  # fmt: skip
        body = json.dumps({"data": data, "meta": {"attempt": 1}}).encode()
        signature = base64.b64encode(signing.sign(timestamp.encode() + b"|" + body).signature).decode()
        head = (
            f"POST {TARGET} HTTP/1.1\r\nHost: voice\r\nContent-Type: application/json\r\n{IDENTITY_HEADER}: {identity}\r\n"
            f"telnyx-timestamp: {timestamp}\r\ntelnyx-signature-ed25519: {signature}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        requests.append(head.encode() + body)
    return requests


@contextmanager
def worker(variant: str, mongo_url: str, key: str, identity_key: str) -> Iterator[tuple[int, int]]:
    """Run one worker; give its port and pid."""
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.intake.server", variant, str(port), mongo_url, key, identity_key]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            yield port, process.pid
        finally:
            process.terminate()


def resident_mib(pid: int) -> float:
    """Give a process's peak resident memory in MiB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) / 1024


async def create_tenant(mongo_url: str) -> None:
    client = connect(mongo_url, timeout_seconds=5)
    store = TenantStore(client["voice"])
    await store.create_indexes()
    await store.create(Tenant("bench", "Bench", claims=(Claim(ClaimKind.CONNECTION, "1001"),)))
    await client.close()


def main() -> None:
    signing = SigningKey.generate()
    key = base64.b64encode(bytes(signing.verify_key)).decode()
    private, public = new_key_pair()
    results: dict[str, list[LoadResult]] = {variant: [] for variant in VARIANTS}
    memory: list[float] = []
    numbers = itertools.count()
    with tempfile.TemporaryDirectory() as folder:
        mongod = start_mongod(Path(folder) / "db", cache_gb=2)
        try:
            uvloop.run(create_tenant(mongod.url))
            with pymongo.MongoClient(mongod.url) as client:  # type: ignore[var-annotated]
                client["voice"]["events"].create_index([("worker", 1), ("seq", 1)])
            for _ in range(RUNS):
                for variant in VARIANTS:
                    limit = {"group": 10_000, "none": 14_000, "each": 3_000}[variant]
                    identity = IdentitySigner(private).sign(Identity(None, frozenset(), "bench"), "webhooks")
                    requests = signed_requests(int(limit * SECONDS), next(numbers), signing, identity)
                    with worker(variant, mongod.url, key, public) as (port, pid):
                        result = uvloop.run(run_load(port, iter(requests), connections=CONNECTIONS, seconds=SECONDS))
                        if variant != "each" and set(result.statuses) != {200}:  # that one may be too slow
                            raise RuntimeError(f"{variant}: not all were accepted: {result.statuses}")
                        results[variant].append(result)
                        if variant == "group":
                            memory.append(resident_mib(pid))
        finally:
            mongod.stop()
    print_table(
        f"Intake: one worker, {CONNECTIONS} connections, bodies of 1 to 2 KiB, majority and journaled; medians of {RUNS}",
        ["variant", "per s", "p50 ms", "p99 ms"],
        [
            [variant, *(statistics.median(getattr(run, figure) for run in runs) for figure in ("per_s", "p50_ms", "p99_ms"))]
            for variant, runs in results.items()
        ],
    )  # fmt: skip

    def ratio(peer: str) -> float:
        return round(
            statistics.median(a.per_s / b.per_s for a, b in zip(results["group"], results[peer], strict=True)), 3
        )

    print_result(
        {
            "durable_per_s": round(statistics.median(run.per_s for run in results["group"])),
            "vs_no_store": ratio("none"),
            "vs_insert_each": ratio("each"),
            "ack_p99_ms": round(statistics.median(run.p99_ms for run in results["group"]), 1),
            "rss_mib": round(max(memory), 1),
        }
    )


if __name__ == "__main__":
    main()
