"""The gateway, put together."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from functools import partial

import aiohttp
import structlog
from aiohttp import hdrs, web

from voice_common.background import Background
from voice_common.identity import IdentitySigner
from voice_common.mongo import connect, ping
from voice_common.settings import load
from voice_common.store.tenants import TenantStore
from voice_common.telemetry.logs import configure_logs
from voice_common.telemetry.traces import TRACES
from voice_common.web.app import OBSERVER, make_app
from voice_common.web.health import HEALTH
from voice_gateway.addresses import ClientAddresses
from voice_gateway.areas import AREAS, ServiceName
from voice_gateway.authentication import Authenticator
from voice_gateway.bodies import Bodies
from voice_gateway.cache import STALE_SECONDS, Cache, Outcome
from voice_gateway.claims import ClaimNames
from voice_gateway.connections import Connections, Ending, allow_files
from voice_gateway.console import add_console
from voice_gateway.cors import allow_origins
from voice_gateway.docs import ABOUT, add_docs
from voice_gateway.dress import Dress
from voice_gateway.edge import EDGE, EdgeRunner, strict
from voice_gateway.express import DRESS, EXPRESS, Express, Lane
from voice_gateway.gate import Gate
from voice_gateway.handlers import passed_on, report, webhook
from voice_gateway.jwts import JwtVerifier
from voice_gateway.limiter import Limiter
from voice_gateway.memory_level import MemoryLevel
from voice_gateway.metrics import TOKEN_CHANGES, show_all
from voice_gateway.openapi import ApiDescription
from voice_gateway.protocol import Edge
from voice_gateway.proxy import Proxy
from voice_gateway.routes import FORWARDED
from voice_gateway.settings import MEBIBYTE, GatewaySettings
from voice_gateway.shared_level import SharedLevel
from voice_gateway.signing_keys import FixedKeys, KeySet
from voice_gateway.tokens import TokenStore
from voice_gateway.upstream import Patience, Service, make_session

_log = structlog.get_logger("voice.gateway")
_STORE_SECONDS = 2.0
_WEBHOOK_PATIENCE = Patience(connect=0.5, first_byte=1.3, total=1.35)
_TOKEN_COUNT_SECONDS = 10.0

LIMITER = web.AppKey("limiter", Limiter)


async def application() -> EdgeRunner:
    """Make the gateway as its environment says; gunicorn awaits this in each worker."""
    settings = load(GatewaySettings)
    configure_logs("gateway", settings.log_level)
    TRACES.start("gateway")
    allowed = allow_files(settings.connections)
    if allowed < settings.connections:
        _log.warning("fewer connections than set: files are limited", connections=allowed)
    settings = settings.model_copy(update={"connections": allowed})
    return EdgeRunner(create_app(settings), drain_seconds=settings.drain_seconds)


def create_app(settings: GatewaySettings, *, clock: Callable[[], float] = time.monotonic) -> web.Application:
    """Put the gateway together, in a running event loop; nothing connects before it starts.

    `clock` (seconds) is what ages of remembered tokens are measured by.
    """
    app = make_app(
        "gateway",
        middlewares=[strict(settings.metrics_port)],
        max_body=settings.webhook_bytes,
        log_requests=settings.logs_requests,
    )
    show_all((area.name for area in AREAS), ServiceName, Outcome, Ending)
    session = make_session()
    client = connect(settings.mongo_url, timeout_seconds=_STORE_SECONDS)
    database = client[settings.mongo_database]
    tokens = TokenStore(database)
    keys = _keys(settings, session)
    limiter = app[LIMITER] = Limiter(settings.redis_url, processes=settings.processes)
    shared = SharedLevel(settings.redis_url, max_bytes=settings.cache_redis_mb * MEBIBYTE, keep_seconds=STALE_SECONDS)
    cache = Cache(MemoryLevel(settings.cache_memory_mb * MEBIBYTE), shared)
    addresses = ClientAddresses(settings.trusted_proxies)
    authenticator = Authenticator(tokens, TenantStore(database), _verifier(settings, keys), clock=clock)
    gate = Gate(authenticator, limiter, addresses)
    proxy = Proxy(IdentitySigner(settings.identity_private_key), addresses)

    resources, lanes = _add_routes(app, settings, session, gate, cache, proxy, clock)
    add_console(app, media_origins=settings.console_media_origins)
    if settings.cors_origins:
        allow_origins(app, resources, settings.cors_origins)
    dress = app[DRESS] = Dress(settings.cors_origins)
    app.on_response_prepare.append(dress)
    app[EXPRESS] = Express(gate, cache, app[OBSERVER], lanes, dress, settings.metrics_port)
    app[HEALTH].add("mongo", lambda: ping(database))
    connections = Connections(
        addresses,
        per_client=settings.connections_per_client,
        total=settings.connections,
        seconds=settings.slow_client_seconds,
    )
    app[EDGE] = Edge(
        connections,
        settings.request_headers,
        settings.request_head_bytes,
        settings.webhook_bytes,
        settings.metrics_port,
    )

    async def background_work(_app: web.Application) -> AsyncIterator[None]:
        background = Background()
        background.keep("rate_limits", limiter.run)
        background.keep("shared_cache", shared.run)
        background.keep("token_index", tokens.create_indexes)
        background.repeat("token_changes", partial(_show_changes, tokens), every=_TOKEN_COUNT_SECONDS)
        background.repeat("connections", connections.look, every=connections.look_seconds)
        if isinstance(keys, KeySet):
            background.keep("jwks", keys.run)
        yield
        await background.end()
        await session.close()
        await client.close()

    app.cleanup_ctx.append(background_work)
    return app


def _keys(settings: GatewaySettings, session: aiohttp.ClientSession) -> KeySet | FixedKeys | None:
    if settings.jwt_jwks_url is not None:
        return KeySet(settings.jwt_jwks_url, session)
    return None if settings.jwt_public_key is None else FixedKeys(settings.jwt_public_key)


def _verifier(settings: GatewaySettings, keys: KeySet | FixedKeys | None) -> JwtVerifier | None:
    if keys is None or settings.jwt_issuer is None:
        return None
    return JwtVerifier(
        keys,
        issuer=settings.jwt_issuer,
        audiences=settings.jwt_audience,
        names=ClaimNames(settings.jwt_tenant_claim, settings.jwt_scope_claim, settings.jwt_scope_prefix),
    )


def _add_routes(
    app: web.Application,
    settings: GatewaySettings,
    session: aiohttp.ClientSession,
    gate: Gate,
    cache: Cache,
    proxy: Proxy,
    clock: Callable[[], float],
) -> tuple[list[web.AbstractResource], list[Lane]]:
    analytics = Service(ServiceName.ANALYTICS, settings.analytics_url, session)
    recordings = Service(ServiceName.RECORDINGS, settings.recordings_url, session)
    webhooks = Service(ServiceName.WEBHOOKS, settings.webhooks_url, session, patience=_WEBHOOK_PATIENCE)
    services = {service.name: service for service in (analytics, recordings, webhooks)}
    bodies = Bodies(largest=settings.webhook_bytes, most=settings.webhook_memory_mb * MEBIBYTE)
    to_webhooks = webhook(proxy, webhooks, bodies)
    resources: list[web.AbstractResource] = [add_docs(app, ApiDescription(services.values(), ABOUT, clock=clock))]
    lanes: list[Lane] = []
    for forwarded in FORWARDED:
        if forwarded.area is None:
            app.router.add_post(forwarded.path, to_webhooks)
            continue
        service = services[forwarded.service]
        pass_on = (
            passed_on(proxy, service) if forwarded.report is None else report(cache, proxy, service, forwarded.report)
        )
        handler = gate.guard(forwarded.area, pass_on)
        resource = app.router.add_resource(forwarded.path)
        resource.add_route(hdrs.METH_GET, handler)
        resource.add_route(hdrs.METH_HEAD, handler)
        resources.append(resource)
        lanes.append(Lane(resource.canonical, forwarded.area, pass_on, forwarded.report))
    return resources, lanes


async def _show_changes(tokens: TokenStore) -> None:
    """Show what commands counted: they end before anybody can read a metric of theirs."""
    for change, count in (await tokens.changes()).items():
        TOKEN_CHANGES.labels(change).set(count)
