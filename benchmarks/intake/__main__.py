"""Runs the intake benchmark: ``python -m benchmarks.intake``; ``QUICK=1`` for less than a minute."""

from __future__ import annotations

import base64
import os
import random
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pymongo
import uvloop
from nacl.signing import SigningKey

from benchmarks.calls import CONNECTION, event_body, request_of
from benchmarks.load import LoadResult, run_load
from benchmarks.report import print_result, print_table
from benchmarks.stolen import Stolen
from voice_common.identity import Identity, IdentitySigner, new_key_pair
from voice_common.mongo import connect
from voice_common.store.tenants import Claim, ClaimKind, Tenant, TenantStore
from voice_common.times import now_ms
from voice_local.servers import free_port, start_mongod

CONNECTIONS = 128
VARIANTS = ("group", "none", "each")
QUICK = bool(os.environ.get("QUICK"))
RUNS, SECONDS = (5, 1.5) if QUICK else (7, 5.0)
MOST_PER_S, MOST_EACH_PER_S = (8_000, 1_600) if QUICK else (12_000, 3_000)


def signed_requests(count: int, run: int, key: SigningKey, identity: str) -> list[bytes]:
    """Make signed events of 1 to 2 KiB, ten to a call, each with an id of its own."""
    rng = random.Random(run)  # noqa: S311 - a text, no secret
    requests = []
    for number in range(count):
        call = f"{run:04}-{number // 10:08}"
        text = "".join(rng.choices("abcdefgh ", k=rng.randrange(500, 1450)))
        payload = {
            "connection_id": CONNECTION, "call_session_id": f"s-{call}", "call_leg_id": f"l-{call}",
            "call_control_id": f"v3:{call}", "client_state": None, "role": "user", "text": text, "is_final": True,
        }  # fmt: skip
        body = event_body("ai.assistant.transcript", f"{call}-{number % 10}-of-a-delivery", payload, at=now_ms())
        requests.append(request_of(body, key, identity))
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
    """Make the tenant whose events they are."""
    client = connect(mongo_url, timeout_seconds=5)
    store = TenantStore(client["voice"])
    await store.create_indexes()
    await store.create(Tenant("bench", "Bench", claims=(Claim(ClaimKind.CONNECTION, CONNECTION),)))
    await client.close()


def main() -> None:
    """Run each variant in turn, several times."""
    signing = SigningKey.generate()
    key = base64.b64encode(bytes(signing.verify_key)).decode()
    private, public = new_key_pair()
    results: dict[str, list[LoadResult]] = {variant: [] for variant in VARIANTS}
    memory = share_stolen = 0.0
    with tempfile.TemporaryDirectory() as folder:
        mongod = start_mongod(Path(folder) / "db", cache_gb=2)
        try:
            uvloop.run(create_tenant(mongod.url))
            with pymongo.MongoClient(mongod.url) as client:  # type: ignore[var-annotated]
                client["voice"]["events"].create_index([("worker", 1), ("seq", 1)])
            with ExitStack() as running:
                workers = {
                    variant: running.enter_context(worker(variant, mongod.url, key, public)) for variant in VARIANTS
                }
                stolen = Stolen()
                for turn in range(RUNS):
                    identity = IdentitySigner(private).sign(Identity(None, frozenset(), "bench"), "webhooks")
                    stored = signed_requests(int(MOST_PER_S * SECONDS), 2 * turn, signing, identity)
                    # What is not stored can be sent again; what another variant has stored would be a duplicate.
                    each = signed_requests(int(MOST_EACH_PER_S * SECONDS), 2 * turn + 1, signing, identity)
                    for variant, requests in (("group", stored), ("none", stored), ("each", each)):
                        port, _ = workers[variant]
                        result = uvloop.run(run_load(port, iter(requests), connections=CONNECTIONS, seconds=SECONDS))
                        if variant != "each" and set(result.statuses) != {200}:  # that one may be too slow
                            raise RuntimeError(f"{variant}: not all were accepted: {result.statuses}")
                        results[variant].append(result)
                memory, share_stolen = resident_mib(workers["group"][1]), stolen.share()
        finally:
            mongod.stop()
    print_table(
        f"Intake: one worker, {CONNECTIONS} connections, bodies of 1 to 2 KiB, durable; medians of {RUNS}",
        ["variant", "per s", "p50 ms", "p99 ms"],
        [
            [variant, *(_median(runs, figure) for figure in ("per_s", "p50_ms", "p99_ms"))]
            for variant, runs in results.items()
        ],
    )
    print(f"taken by the hypervisor: {share_stolen:.1%} of all cores")
    group = results["group"]
    ratios = {
        peer: statistics.median(ours.per_s / theirs.per_s for ours, theirs in zip(group, results[peer], strict=True))
        for peer in ("none", "each")
    }
    print_result(
        {
            "durable_per_s": round(_median(group, "per_s")),
            "vs_no_store": round(ratios["none"], 3),
            "vs_insert_each": round(ratios["each"], 3),
            "ack_p99_ms": round(_median(group, "p99_ms"), 1),
            "rss_mib": round(memory, 1),
        }
    )


def _median(runs: list[LoadResult], figure: str) -> float:
    return float(statistics.median(getattr(run, figure) for run in runs))


if __name__ == "__main__":
    main()
