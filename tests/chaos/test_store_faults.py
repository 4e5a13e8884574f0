"""The store is killed, restarted and steps down under load: nothing acknowledged is lost or counted twice."""

from __future__ import annotations

import asyncio
import itertools
import signal
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
from replica_set import replica_set, step_down
from service_process import service_process
from webhooks_factories import T0, VOICE, Signer, body_of, event, until

from voice_common.identity import IDENTITY_HEADER, Identity, IdentitySigner, new_key_pair
from voice_common.mongo import Database, connect
from voice_common.store.conversations import conversation_document
from voice_common.store.envelope import read_envelope
from voice_common.store.state import CallState
from voice_common.store.tenants import Claim, ClaimKind, Tenant, TenantStore
from voice_local.servers import start_mongod
from voice_webhooks.contribution import contribution_of
from voice_webhooks.projection.language import is_english

RECOVERY_SECONDS = 10.0
"""Longest until events are taken again, of which a new mongod or an election may need 4."""
SENDERS = 6


def call(name: str) -> list[dict[str, Any]]:
    ids = {"connection_id": "1001", "call_session_id": name, "call_leg_id": f"leg-{name}"}
    kinds = ("call.initiated", "call.answered", "call.bridged", "call.hangup")
    return [event(kind, T0 + step * 1000, id=f"{name}-{step}", **ids) for step, kind in enumerate(kinds)]


class Traffic:
    """Sends calls, each event until it is acknowledged, and remembers what was and when."""

    def __init__(self, url: str, signer: Signer, identity: IdentitySigner) -> None:
        self._url = url
        self._signer = signer
        self._identity = identity
        self.acknowledged: dict[str, list[dict[str, Any]]] = {}
        self.acknowledged_at: list[float] = []
        self.statuses: set[int] = set()
        self._stopping = False

    async def run(self) -> None:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=3)) as session:
            await asyncio.gather(*(self._send(session, number) for number in range(SENDERS)))

    def stop(self) -> None:
        self._stopping = True

    async def _send(self, session: aiohttp.ClientSession, sender: int) -> None:
        for number in itertools.count():
            if self._stopping:
                return
            name = f"s{sender}-{number}"
            for document in call(name):
                while not await self._deliver(session, document):  # noqa: ASYNC110 - Telnyx polls too
                    await asyncio.sleep(0.05)  # as Telnyx does, only sooner
                self.acknowledged.setdefault(name, []).append(document)
                self.acknowledged_at.append(time.monotonic())

    async def _deliver(self, session: aiohttp.ClientSession, document: dict[str, Any]) -> bool:
        body = body_of(document)
        identity = self._identity.sign(Identity(None, frozenset(), "r"), "webhooks")
        headers = {IDENTITY_HEADER: identity, **self._signer.headers(body)}
        try:
            async with session.post(self._url + VOICE, data=body, headers=headers) as response:
                self.statuses.add(response.status)
                assert response.status in {200, 503}, await response.text()
                assert response.status == 200 or int(response.headers["Retry-After"]) >= 1
                return response.status == 200
        except (aiohttp.ClientError, TimeoutError):
            return False


async def survives(url: str, name: str, faults: Callable[[Traffic], Awaitable[None]]) -> None:
    """Run the service and traffic through `faults`; then compare all with what was acknowledged."""
    signer = Signer()
    private, public = new_key_pair()
    client = connect(url, timeout_seconds=10)
    database = client[name]
    tenants = TenantStore(database)
    await tenants.create_indexes()
    await tenants.create(Tenant("acme", "Acme", claims=(Claim(ClaimKind.CONNECTION, "1001"),)))
    settings = {
        "VOICE_MONGO_URL": url,
        "VOICE_MONGO_DATABASE": name,
        "VOICE_IDENTITY_PUBLIC_KEYS": public,
        "VOICE_TELNYX_PUBLIC_KEYS": signer.public_key,
    }
    async with service_process("voice_webhooks", settings) as service:
        traffic = Traffic(service, signer, IdentitySigner(private))
        running = asyncio.create_task(traffic.run())
        await flowing(traffic)
        await faults(traffic)
        traffic.stop()
        await running
        await until(lambda: equal(database, traffic, signer.public_key), seconds=30)
    events = sum(len(documents) for documents in traffic.acknowledged.values())
    assert await database["events"].count_documents({}) == events
    await client.close()


async def equal(database: Database, traffic: Traffic, key: str) -> bool:
    expected = []
    for name, documents in sorted(traffic.acknowledged.items()):
        state = CallState()
        for document in documents:
            contribution = contribution_of(read_envelope(body_of(document), received_at=T0), key)
            assert contribution is not None
            state = state.join(contribution)
        expected.append(conversation_document("acme", name, state, is_english))
    return await database["conversations"].find({}).sort("_id", 1).to_list() == expected


async def flowing(traffic: Traffic, *, seconds: float = 30.0) -> float:
    """Wait until events are acknowledged again; give how long that took."""
    since, known = time.monotonic(), len(traffic.acknowledged_at)
    await until(lambda: asyncio.sleep(0, len(traffic.acknowledged_at) > known + 50), seconds=seconds)
    return time.monotonic() - since


async def test_a_mongod_that_is_killed_and_restarted_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    server = start_mongod(tmp_path / "db", cache_gb=0.25)

    async def faults(traffic: Traffic) -> None:
        nonlocal server
        for _ in range(2):
            server.process.kill()
            server.process.wait()
            server = await asyncio.to_thread(start_mongod, tmp_path / "db", port=server.port, cache_gb=0.25)
            assert await flowing(traffic) < RECOVERY_SECONDS

    try:
        await survives(server.url, "killed", faults)
    finally:
        server.stop()


async def test_a_primary_that_steps_down_or_is_killed_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    with replica_set(tmp_path) as nodes:

        async def faults(traffic: Traffic) -> None:
            first = nodes.primary()
            await asyncio.to_thread(step_down, first)
            assert await flowing(traffic) < RECOVERY_SECONDS
            second = await asyncio.to_thread(nodes.primary)
            nodes.nodes[second].send_signal(signal.SIGKILL)
            nodes.nodes[second].wait()
            assert await flowing(traffic) < RECOVERY_SECONDS
            nodes.start(second)

        await survives(nodes.url, "elected", faults)
