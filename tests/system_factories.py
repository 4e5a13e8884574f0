"""The gateway and the three services behind it, in this process and on one event loop, on real stores."""

from __future__ import annotations

import socket
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from io import BytesIO
from typing import Any

import aiohttp
from aiohttp import web
from gateway_factories import PRIVATE_KEY, PUBLIC_KEY, Gateway, Reply, running, until
from webhooks_factories import Signer

from voice_analytics.app import create_app as create_analytics
from voice_analytics.settings import AnalyticsSettings
from voice_common.mongo import Database, connect
from voice_common.web.runner import ServiceRunner
from voice_gateway.settings import GatewaySettings
from voice_recordings.app import create_app as create_recordings
from voice_recordings.settings import RecordingsSettings
from voice_webhooks.app import create_app as create_webhooks
from voice_webhooks.front import webhook_front
from voice_webhooks.settings import WebhooksSettings

_DRAIN_SECONDS = 5.0


def _webhooks(settings: dict[str, Any]) -> web.AppRunner:
    app = create_webhooks(WebhooksSettings(**settings))
    return ServiceRunner(app, drain_seconds=_DRAIN_SECONDS, front=webhook_front(app))


def _recordings(settings: dict[str, Any]) -> web.AppRunner:
    return ServiceRunner(create_recordings(RecordingsSettings(**settings)), drain_seconds=_DRAIN_SECONDS)


def _analytics(settings: dict[str, Any]) -> web.AppRunner:
    app = create_analytics(AnalyticsSettings(**settings, analytics_worker_in_process=True))
    return ServiceRunner(app, drain_seconds=_DRAIN_SECONDS)


_SERVICES: dict[str, Callable[[dict[str, Any]], web.AppRunner]] = {
    "webhooks": _webhooks,
    "recordings": _recordings,
    "analytics": _analytics,
}


class System:
    """All that runs. `signer` has the system's Telnyx key."""

    def __init__(self, database: Database, mongo_url: str, redis_url: str, session: aiohttp.ClientSession) -> None:
        self.database = database
        self.session = session
        self.signer = Signer()
        self._known: dict[str, Any] = {
            "mongo_url": mongo_url, "mongo_database": database.name, "log_level": "warning",
        }  # fmt: skip
        self._redis_url = redis_url
        self._ports: dict[str, int] = {}
        self._runners: dict[str, web.AppRunner] = {}
        self._gateways = AsyncExitStack()
        self._gateway: Gateway | None = None
        self._waiting: Counter[str] = Counter()

    @property
    def gateway(self) -> Gateway:
        """The one that clients are sent to."""
        assert self._gateway is not None
        return self._gateway

    async def get(self, path: str, token: str, headers: Mapping[str, str] | None = None) -> Reply:
        """Ask the gateway."""
        return await self._ask("GET", path, {"Authorization": f"Bearer {token}", **(headers or {})})

    async def post(self, path: str, body: bytes, headers: Mapping[str, str]) -> Reply:
        """Deliver a webhook to the gateway."""
        return await self._ask("POST", path, headers, body)

    async def _ask(self, method: str, path: str, headers: Mapping[str, str], body: bytes | None = None) -> Reply:
        url = self.gateway.url
        self._waiting[url] += 1
        try:
            data = None if body is None else BytesIO(body)  # aiohttp warns of large bytes
            async with self.session.request(method, url + path, headers=headers, data=data) as answer:
                return Reply(answer.status, answer.headers, await answer.read())
        finally:
            self._waiting[url] -= 1

    def port(self, service: str) -> int:
        """Give the port of a service behind the gateway."""
        return self._ports[service]

    async def roll(self, service: str, **more: Any) -> None:
        """Start a service with `more` settings; where one runs, the new one shares its port before the old one goes."""
        settings = {"identity_public_keys": [PUBLIC_KEY]} | self._known
        if service == "webhooks":
            settings["telnyx_public_keys"] = [self.signer.public_key]
        runner = _SERVICES[service](settings | more)
        await runner.setup()
        listener = socket.create_server(("127.0.0.1", self._ports.get(service, 0)), reuse_port=True)
        await web.SockSite(runner, listener).start()
        self._ports[service] = listener.getsockname()[1]
        old, self._runners[service] = self._runners.get(service), runner
        if old is not None:
            await old.cleanup()

    async def roll_gateway(self, **more: Any) -> None:
        """Start a gateway with `more` settings and send clients there; then stop the one that was there before.

        As a load balancer does it: no new request for the old one, then those that it has, then its end.
        """
        urls = {f"{service}_url": f"http://127.0.0.1:{port}" for service, port in self._ports.items()}
        known = {"identity_private_key": PRIVATE_KEY, "redis_url": self._redis_url, "drain_seconds": _DRAIN_SECONDS}
        old, self._gateways = self._gateways, AsyncExitStack()
        gateway = await self._gateways.enter_async_context(
            running(GatewaySettings(**self._known | urls | known | more))
        )
        await gateway.until_exact()
        left, self._gateway = self._gateway, gateway
        if left is not None:
            await until(lambda: not self._waiting[left.url])
        await old.aclose()

    async def stop(self) -> None:
        """Stop all of it."""
        await self._gateways.aclose()
        for runner in self._runners.values():
            await runner.cleanup()


@asynccontextmanager
async def running_system(
    mongo_url: str, redis_url: str, *, one_each: bool = False, **more: Any
) -> AsyncIterator[System]:
    """Run all of it on a database of its own; `more` are settings of the gateway.

    With `one_each` every request of the client has a connection of its own, as those of many clients have.
    """
    client = connect(mongo_url, timeout_seconds=5)
    database = client[f"test_{uuid.uuid4().hex}"]
    session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0, force_close=one_each))
    system = System(database, mongo_url, redis_url, session)
    try:
        for service in _SERVICES:
            await system.roll(service)
        await system.roll_gateway(**more)
        yield system
    finally:
        await session.close()
        await system.stop()
        await client.drop_database(database.name)
        await client.close()
