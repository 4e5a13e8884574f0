"""The analytics service, put together."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial

from aiohttp import web

from voice_analytics.handlers import CALL_SUMS
from voice_analytics.query import CallSums
from voice_analytics.refresh import RollupKeeper
from voice_analytics.routes import ENDPOINTS
from voice_analytics.settings import AnalyticsSettings
from voice_common.background import Background
from voice_common.identity import IdentityVerifier
from voice_common.mongo import Database, connect, ping
from voice_common.settings import load
from voice_common.telemetry.logs import configure_logs
from voice_common.telemetry.traces import TRACES
from voice_common.web.app import make_app
from voice_common.web.callers import IDENTITY_VERIFIER
from voice_common.web.health import HEALTH
from voice_common.web.openapi import add_endpoints
from voice_common.web.runner import ServiceRunner

DATABASE = web.AppKey("database", Database)
SETTINGS = web.AppKey("settings", AnalyticsSettings)


def create_app(settings: AnalyticsSettings) -> web.Application:
    """Assemble the service; nothing connects before it starts."""
    app = make_app("analytics", log_requests=settings.logs_requests)
    app[SETTINGS] = settings
    app[IDENTITY_VERIFIER] = IdentityVerifier(settings.identity_public_keys, "analytics")
    app.cleanup_ctx.extend([_store, _indexes])
    if settings.analytics_worker_in_process:
        app.cleanup_ctx.append(_worker)
    add_endpoints(app, "analytics", ENDPOINTS)
    return app


async def application() -> ServiceRunner:
    """Make the service of a worker process from the environment."""
    settings = load(AnalyticsSettings)
    configure_logs("analytics", settings.log_level)
    TRACES.start("analytics")
    return ServiceRunner(create_app(settings), drain_seconds=settings.drain_seconds)


async def _store(app: web.Application) -> AsyncIterator[None]:
    settings = app[SETTINGS]
    client = connect(settings.mongo_url, timeout_seconds=settings.analytics_store_seconds)
    database = client[settings.mongo_database]
    app[DATABASE] = database
    app[CALL_SUMS] = CallSums(
        database, store_seconds=settings.analytics_store_seconds, scan_seconds=settings.analytics_scan_seconds
    )
    app[HEALTH].add("mongo", partial(ping, database))
    yield
    await client.close()


async def _indexes(app: web.Application) -> AsyncIterator[None]:
    """Make the indexes beside the start: a store that is down delays readiness, not the process."""
    background = Background()
    made = background.keep("indexes", RollupKeeper(app[DATABASE]).prepare)

    async def check() -> None:
        if not made.done():
            message = "the indexes are not made yet"
            raise RuntimeError(message)

    app[HEALTH].add("indexes", check)
    yield
    await background.end()


async def _worker(app: web.Application) -> AsyncIterator[None]:
    # Imported by whoever works only: with the module come its metrics, and an alert asks whether anybody shows them.
    from voice_analytics.worker.loop import working  # noqa: PLC0415

    settings = app[SETTINGS]
    async with working(
        app[DATABASE], poll_seconds=settings.analytics_poll_seconds, drain_seconds=settings.drain_seconds
    ):
        yield
