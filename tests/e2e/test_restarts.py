"""Each service is told to stop and started again while it is used: no GET fails, no acknowledged webhook is lost."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import uuid
from collections import Counter
from typing import Any

import aiohttp
from chaos_factories import Balancer
from e2e_factories import World, token_of, until
from webhooks_factories import T0, VOICE, body_of, event

from voice_common.store.tenants import AreaName, Claim, ClaimKind, Tenant, TenantStore
from voice_gateway.tokens import TokenStore
from voice_local.simulation.delivery import Signer

CONVERSATIONS = "/api/conversations"
ANALYTICS = "/api/voice/analytics"
SERVICES = ("recordings", "analytics", "webhooks", "gateway")


class Traffic:
    """Readers and senders of one tenant; each event is sent until it is acknowledged."""

    def __init__(self, balancer: Balancer, tenant: Tenant, token: str, signer: Signer) -> None:
        self._balancer = balancer
        self._connection = tenant.claims[0].value
        self._token = token
        self._signer = signer
        self._stopping = False
        self.acknowledged: list[str] = []
        self.refused: Counter[int | None] = Counter()

    async def run(self) -> None:
        """Read and send until `stop`."""
        first = f"{self._connection}-first"
        for document in self._call(first):
            await self._deliver(document)
        await until(lambda: self._shown(f"{CONVERSATIONS}/{first}"))
        self._balancer.replies.clear()
        paths = [
            CONVERSATIONS, f"{CONVERSATIONS}/{first}", f"{CONVERSATIONS}/{first}/messages", f"{ANALYTICS}/overview",
            f"{ANALYTICS}/timeline",
        ]  # fmt: skip
        readers = [self._read(path) for path in paths]
        readers.append(self._read(f"{ANALYTICS}/detailed", **{"Cache-Control": "no-cache"}))
        await asyncio.gather(*readers, *(self._send(number) for number in range(3)))

    def stop(self) -> None:
        self._stopping = True

    async def moved(self, count: int = 30) -> None:
        """Wait until so many more answers have come, and as many acknowledgements."""
        answers, events = len(self._balancer.replies) + count, len(self.acknowledged) + count
        await until(lambda: asyncio.sleep(0, len(self._balancer.replies) > answers and len(self.acknowledged) > events))

    def _call(self, name: str) -> list[dict[str, Any]]:
        ids = {"connection_id": self._connection, "call_session_id": name, "call_leg_id": f"leg-{name}"}
        kinds = ("call.initiated", "call.answered", "call.hangup")
        return [event(kind, T0 + step * 1000, id=f"{name}-{step}", **ids) for step, kind in enumerate(kinds)]

    async def _shown(self, path: str) -> bool:
        return await self._balancer.get(path, self._token) == 200

    async def _read(self, path: str, **headers: str) -> None:
        while not self._stopping:
            await self._balancer.get(path, self._token, **headers)
            await asyncio.sleep(0.01)

    async def _send(self, sender: int) -> None:
        for number in itertools.count():
            if self._stopping:
                return
            for document in self._call(f"{self._connection}-{sender}-{number}"):
                await self._deliver(document)

    async def _deliver(self, document: dict[str, Any]) -> None:
        body = body_of(document)
        while (status := await self._balancer.post(VOICE, body, self._signer.headers(body))) != 200:
            self.refused[status] += 1
            await asyncio.sleep(0.05)  # as Telnyx does, only sooner
        self.acknowledged.append(document["data"]["id"])


async def restart(world: World, service: str) -> None:
    """Tell a service to stop; return when its successor is ready."""
    before = world.stack.described()["services"][service]["pid"]
    os.kill(before, signal.SIGTERM)

    async def ready() -> bool:
        now = world.stack.described()["services"][service]
        async with world.session.get(f"{now['url']}/readyz") as response:
            return bool(now["pid"] != before and response.status == 200)

    await until(ready, seconds=20)


async def test_a_restart_of_each_service_under_load_fails_no_get_and_loses_no_webhook(world: World) -> None:
    name = f"t-{uuid.uuid4().hex[:12]}"
    claim = Claim(ClaimKind.CONNECTION, str(uuid.uuid4().int)[:19])
    limits = dict.fromkeys(AreaName, 1_000_000)
    tenant = await TenantStore(world.database).create(Tenant(name, name, limits, claims=(claim,)))
    token = await token_of(TokenStore(world.database), name)
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=15)) as session:
        balancer = Balancer(session, [world.stack.base_url])
        traffic = Traffic(balancer, tenant, token, Signer(world.stack.directory.keys().telnyx))
        running = asyncio.create_task(traffic.run())
        try:
            await traffic.moved()
            for service in SERVICES:
                await restart(world, service)
                await traffic.moved()
                failed = [reply for reply in balancer.replies if reply.status != 200]
                assert not failed, f"{service}: {failed[:3]}"
        finally:
            traffic.stop()
            await running
    found = world.database["events"].find({"_id.tenant": name}, {"_id": 1})
    assert Counter([document["_id"]["event"] async for document in found]) == Counter(traffic.acknowledged)
    assert set(traffic.refused) <= {503, None}, "what is not acknowledged is sent again"
