"""Runs the projection benchmark: ``python -m benchmarks.projection``; ``QUICK=1`` for less than a minute.

A live mix of calls at a steady rate through the real webhooks service (one gunicorn worker), with mongod on the
same machine, after `OLD_MB` of older events. The lag is from an acknowledged hangup to its call being completed
in ``conversations``, for a sample of the calls.
"""

from __future__ import annotations

import asyncio
import base64
import itertools
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pymongo
import uvloop
from nacl.signing import SigningKey

from benchmarks.calls import CONNECTION, live_mix, request_of
from benchmarks.load import PacedLoad
from benchmarks.report import print_result, print_table
from benchmarks.stolen import Stolen
from voice_common.identity import Identity, IdentitySigner, new_key_pair
from voice_common.mongo import Database, connect
from voice_common.store.envelope import read_envelope
from voice_common.store.events import StoredEvent
from voice_common.store.tenants import Claim, ClaimKind, Tenant, TenantStore
from voice_local.servers import free_port, start_mongod

QUICK = bool(os.environ.get("QUICK"))
SECONDS, OLD_MB = (15, 20) if QUICK else (60, 200)
RATE = int(os.environ.get("RATE", "2600"))
CONNECTIONS = 256
"""So many that the worker has something to do while most of them wait for the same commit."""
UNDER_WAY = 300
SAMPLE_EVERY = 0.1
EVENTS_A_CALL = 12
BODY_BYTES = 445
LONGEST = 4
"""How many times longer than offered the load may take before the run is given up."""
UNSIGNED = "unsigned"
IDENTITY_SECONDS = 20.0


class Identities:
    """Signs requests as the gateway does, with an identity that is never older than `IDENTITY_SECONDS`."""

    def __init__(self, private_key: str) -> None:
        self._signer = IdentitySigner(private_key)
        self._signed_at = float("-inf")
        self._identity = b""

    def put_into(self, request: bytes) -> bytes:
        """Give a prepared request with an identity of now."""
        now = time.monotonic()
        if now - self._signed_at > IDENTITY_SECONDS:
            self._signed_at = now
            self._identity = self._signer.sign(Identity(None, frozenset(), "bench"), "webhooks").encode()
        return request.replace(UNSIGNED.encode(), self._identity, 1)


class Watch:
    """Watches some calls from the acknowledgement of their hangup to their completion in ``conversations``."""

    def __init__(self, database: Database, hangups: Mapping[int, str]) -> None:
        self._database = database
        self._hangups = hangups
        self._sampled_at = 0.0
        self._tasks: set[asyncio.Task[None]] = set()
        self.lags: list[float] = []

    def acknowledged(self, number: int) -> None:
        """Watch the call whose hangup this is, unless another was sampled just now."""
        now = time.perf_counter()
        session = self._hangups.get(number)
        if session is not None and now - self._sampled_at > SAMPLE_EVERY:
            self._sampled_at = now
            task = asyncio.create_task(self._watch(session, now))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def finish(self) -> None:
        """Wait for the calls that are being watched."""
        await asyncio.gather(*self._tasks)

    async def _watch(self, session: str, acknowledged_at: float) -> None:
        chosen = {"_id": {"tenant": "bench", "session": session}, "phase": "completed"}
        pause = 0.01
        while await self._database["conversations"].find_one(chosen, {"_id": 1}) is None:
            await asyncio.sleep(pause)
            pause *= 1.2  # many calls that wait long must not become the load
        self.lags.append(time.perf_counter() - acknowledged_at)


def store_old_events(mongo_url: str) -> int:
    """Put events of earlier calls into the store; give their bytes."""
    size = 0
    with pymongo.MongoClient(mongo_url) as client:  # type: ignore[var-annotated]
        bodies = live_mix(OLD_MB * 1_000_000 // BODY_BYTES // EVENTS_A_CALL, "old", under_way=UNDER_WAY, seed=1)
        for seq in itertools.count(1, 1000):
            chunk = list(itertools.islice(bodies, 1000))
            if not chunk:
                return size
            envelopes = [read_envelope(body, received_at=0) for body in chunk]
            documents = [
                StoredEvent("bench", one.stream, one.event, one.type, one.occurred_at, 0, "old", body).to_document(
                    "old", seq
                )
                for one, body in zip(envelopes, chunk, strict=True)
            ]
            client["voice"]["events"].insert_many(documents, ordered=False)
            size += sum(map(len, chunk))
    return size


@asynccontextmanager
async def webhooks_service(mongo_url: str, telnyx_key: str, identity_key: str, log: Path) -> AsyncIterator[int]:
    """Run the real service; give its port."""
    port = free_port()
    environment = {
        **os.environ,
        "VOICE_MONGO_URL": mongo_url,
        "VOICE_PORT": str(port),
        "VOICE_IDENTITY_PUBLIC_KEYS": identity_key,
        "VOICE_TELNYX_PUBLIC_KEYS": telnyx_key,
        "VOICE_LOG_LEVEL": "warning",
    }
    with log.open("wb") as output:
        process = subprocess.Popen([sys.executable, "-m", "voice_webhooks"], env=environment, stderr=output)
    try:
        async with aiohttp.ClientSession() as session:
            while True:
                try:
                    async with session.get(f"http://127.0.0.1:{port}/readyz") as response:
                        if response.status == 200:
                            break
                except aiohttp.ClientError:
                    pass
                await asyncio.sleep(0.05)
        print(f"webhooks runs as {process.pid}", file=sys.stderr)
        yield port
    finally:
        process.terminate()
        process.wait(30)


async def measure(mongo_url: str, folder: Path) -> None:
    """Fill the store with old events, then run the measured load."""
    key = SigningKey.generate()
    private, public = new_key_pair()
    client = connect(mongo_url, timeout_seconds=10)
    database = client["voice"]
    tenants = TenantStore(database)
    await tenants.create_indexes()
    await tenants.create(Tenant("bench", "Bench", claims=(Claim(ClaimKind.CONNECTION, CONNECTION),)))
    telnyx_key = base64.b64encode(bytes(key.verify_key)).decode()
    old = store_old_events(mongo_url)
    bodies = list(live_mix(RATE * SECONDS // EVENTS_A_CALL, "live", under_way=UNDER_WAY, seed=2))
    hangups = {
        number: body.split(b'"call_session_id": "', 1)[1].split(b'"', 1)[0].decode()
        for number, body in enumerate(bodies)
        if b'"call.hangup"' in body
    }
    async with webhooks_service(mongo_url, telnyx_key, public, folder / "webhooks.log") as port:
        requests = [request_of(body, key, UNSIGNED) for body in bodies]
        identities = Identities(private)
        watch = Watch(database, hangups)
        load = PacedLoad(port, connections=CONNECTIONS, acknowledged=watch.acknowledged, finished=identities.put_into)
        stolen = Stolen()
        elapsed = await load.run(requests, RATE, seconds=SECONDS * LONGEST)
        share_stolen = stolen.share()
        await watch.finish()
    sustained = len(requests) / elapsed
    print_table(
        f"Projection: {RATE} events/s offered for {SECONDS} s, behind {old / 1e6:.0f} MB of old events",
        ["figure", "value"],
        [
            ["acknowledged per s", sustained],
            ["answered otherwise, sent again", load.refused],
            ["ack p50 ms", statistics.median(load.acks) * 1000],
            ["ack p99 ms", _percentile(load.acks, 99) * 1000],
            ["lag p50 s", statistics.median(watch.lags)],
            ["lag p99 s", _percentile(watch.lags, 99)],
            ["sampled calls", len(watch.lags)],
            ["taken by the hypervisor", f"{share_stolen:.1%} of all cores"],
        ],
    )
    print_result(
        {
            "sustained_per_s": round(sustained),
            "lag_p50_s": round(statistics.median(watch.lags), 3),
            "lag_p99_s": round(_percentile(watch.lags, 99), 3),
        }
    )
    await client.close()


def _percentile(values: list[float], percent: int) -> float:
    return sorted(values)[min(len(values) - 1, len(values) * percent // 100)]


def main() -> None:
    """Run the benchmark on a mongod of its own."""
    with tempfile.TemporaryDirectory() as folder:
        mongod = start_mongod(Path(folder) / "db", cache_gb=2)
        try:
            uvloop.run(measure(mongod.url, Path(folder)))
        finally:
            mongod.stop()


if __name__ == "__main__":
    main()
