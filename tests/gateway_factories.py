"""What the gateway's tests are made of: a service behind it, gateways before it, tenants and tokens."""

from __future__ import annotations

import asyncio
import json
import socket
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from aiohttp import web
from multidict import CIMultiDict, CIMultiDictProxy

from voice_common.identity import IDENTITY_HEADER, Identity, IdentityVerifier, new_key_pair
from voice_common.mongo import Database
from voice_common.store.tenants import AreaName, Tenant, TenantStore
from voice_gateway.app import LIMITER, create_app
from voice_gateway.areas import SCOPES
from voice_gateway.edge import EdgeRunner
from voice_gateway.settings import GatewaySettings
from voice_gateway.tokens import Token, TokenStore, _to_document, digest_of, new_secret

PRIVATE_KEY, PUBLIC_KEY = new_key_pair()
OVERVIEW = "/api/voice/analytics/overview"
TIMELINE = "/api/voice/analytics/timeline"
NO_CACHE = {"Cache-Control": "no-cache"}
CONVERSATIONS = "/api/conversations"

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class Seen:
    """A request as a service got it."""

    method: str
    target: str
    headers: CIMultiDictProxy[str]
    body: bytes
    identity: Identity | None


@dataclass
class FakeService:
    """A real HTTP server on loopback in the place of a service; it remembers what it was asked."""

    name: str
    port: int = 0
    seen: list[Seen] = field(default_factory=list)
    answer: Handler | None = None
    cancelled: int = 0
    _runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        app = web.Application(client_max_size=8 * 1024 * 1024)
        app.router.add_route("*", "/{tail:.*}", self._handle)
        self._runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True).start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        verifier = IdentityVerifier([PUBLIC_KEY], self.name)
        header = request.headers.get(IDENTITY_HEADER)
        identity = verifier.verify(header) if header else None
        self.seen.append(Seen(request.method, request.raw_path, request.headers, await request.read(), identity))
        try:
            if self.answer is not None:
                return await self.answer(request)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return web.json_response({"count": len(self.seen)})


def says(status: int, body: object, headers: Mapping[str, str] | None = None) -> Handler:
    """Make a service's answer that is always the same."""

    async def answer(_request: web.Request) -> web.Response:
        return web.json_response(body, status=status, headers=headers)

    return answer


@dataclass
class Services:
    analytics: FakeService = field(default_factory=lambda: FakeService("analytics"))
    recordings: FakeService = field(default_factory=lambda: FakeService("recordings"))
    webhooks: FakeService = field(default_factory=lambda: FakeService("webhooks"))

    def all(self) -> tuple[FakeService, ...]:
        return self.analytics, self.recordings, self.webhooks


class Clock:
    """A clock that a test moves on."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self.ahead


@dataclass
class Gateway:
    """A gateway that listens on two loopback ports, and a client for it."""

    url: str
    ops_url: str
    port: int
    app: web.Application
    session: aiohttp.ClientSession

    async def get(
        self, path: str, token: str | None = None, headers: Mapping[str, str] | None = None, method: str = "GET"
    ) -> Reply:
        sent: CIMultiDict[str] = CIMultiDict(headers or {})
        if token is not None:
            sent["Authorization"] = f"Bearer {token}"
        async with self.session.request(method, self.url + path, headers=sent, allow_redirects=False) as answer:
            return Reply(answer.status, answer.headers, await answer.read())

    async def until_exact(self) -> None:
        """Wait until the limits are Redis'."""
        await until(lambda: not self.app[LIMITER].is_degraded)


@dataclass
class Reply:
    status: int
    headers: CIMultiDictProxy[str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


async def until(condition: Callable[[], bool], seconds: float = 5.0) -> None:
    """Wait until `condition` holds; fail after `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass in time"
        await asyncio.sleep(0.01)


def settings_for(services: Services, database_url: str, database: str, redis_url: str, **more: Any) -> GatewaySettings:
    values: dict[str, Any] = {
        "mongo_url": database_url,
        "mongo_database": database,
        "redis_url": redis_url,
        "analytics_url": services.analytics.url,
        "recordings_url": services.recordings.url,
        "webhooks_url": services.webhooks.url,
        "identity_private_key": PRIVATE_KEY,
        "drain_seconds": 1,
    }
    return GatewaySettings(**(values | more))


@asynccontextmanager
async def running(settings: GatewaySettings, clock: Callable[[], float] = time.monotonic) -> AsyncIterator[Gateway]:
    """Run one gateway as gunicorn would, in this process."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    port, ops_port = (each.getsockname()[1] for each in sockets)
    app = create_app(settings.model_copy(update={"metrics_port": ops_port}), clock=clock)
    runner = EdgeRunner(app, drain_seconds=settings.drain_seconds)
    await runner.setup()
    for each in sockets:
        await web.SockSite(runner, each).start()
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0), auto_decompress=False, skip_auto_headers=["Accept-Encoding"]
    ) as session:
        yield Gateway(f"http://127.0.0.1:{port}", f"http://127.0.0.1:{ops_port}", port, app, session)
    await runner.cleanup()


RunGateway = Callable[..., AbstractAsyncContextManager[Gateway]]


async def make_tenant(
    database: Database, tenant: str | None = None, *, limits: Mapping[AreaName, int] | None = None
) -> str:
    """Make a tenant with a name of its own, so that tests share a Redis without sharing windows."""
    made = await TenantStore(database).create(Tenant(tenant or f"t{uuid.uuid4().hex[:12]}", "Test", limits or {}))
    return made.id


async def make_token(
    database: Database, tenant: str, scopes: Iterable[str] = SCOPES, expires_at: int | None = None
) -> str:
    """Issue a token and give its text."""
    secret, _ = await TokenStore(database).issue(tenant, name="test", scopes=scopes, expires_at=expires_at)
    return secret


async def make_customers(database: Database, count: int) -> list[str]:
    """Make many tenants, with limits that nobody reaches, and a token of each; give the tokens."""
    limits = dict.fromkeys((str(area) for area in AreaName), 1_000_000)
    secrets = [new_secret() for _ in range(count)]
    names = [f"c{uuid.uuid4().hex[:12]}" for _ in secrets]
    tokens = [
        Token(digest_of(each), name, "test", SCOPES, 1, None, None) for each, name in zip(secrets, names, strict=True)
    ]
    await database["tenants"].insert_many(
        {
            "_id": name, "name": name, "limits": limits, "telnyx_public_keys": [], "created_at": 1, "deleted_at": None,
        }
        for name in names
    )  # fmt: skip
    await database["api_tokens"].insert_many(_to_document(token) for token in tokens)
    return secrets


class Gated:
    """An answer that waits until it is let go; each says which one it is."""

    def __init__(self) -> None:
        self.begun = 0
        self.gates: list[asyncio.Event] = []

    async def __call__(self, _request: web.Request) -> web.Response:
        self.begun += 1
        number, gate = self.begun, asyncio.Event()
        self.gates.append(gate)
        await gate.wait()
        return web.json_response({"number": number})
