"""The recordings service, put together."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial

from aiohttp import web

from voice_common.identity import IdentityVerifier
from voice_common.mongo import connect, ping
from voice_common.settings import load
from voice_common.telemetry.logs import configure_logs
from voice_common.telemetry.traces import TRACES
from voice_common.web.app import make_app
from voice_common.web.callers import IDENTITY_VERIFIER
from voice_common.web.health import HEALTH
from voice_common.web.openapi import add_endpoints
from voice_common.web.runner import ServiceRunner
from voice_recordings.conversations import Conversations
from voice_recordings.handlers import CONVERSATIONS
from voice_recordings.routes import ENDPOINTS
from voice_recordings.settings import RecordingsSettings

SETTINGS = web.AppKey("settings", RecordingsSettings)
STORE_SECONDS = 1.5
"""Longest that one answer waits for the store: a caller hears of a store that is down within 2 s."""


def create_app(settings: RecordingsSettings) -> web.Application:
    """Assemble the service; nothing connects before it starts."""
    app = make_app("recordings", log_requests=settings.logs_requests)
    app[SETTINGS] = settings
    app[IDENTITY_VERIFIER] = IdentityVerifier(settings.identity_public_keys, "recordings")
    app.cleanup_ctx.append(_store)
    add_endpoints(app, "recordings", ENDPOINTS)
    return app


async def application() -> ServiceRunner:
    """Make the service of a worker process from the environment."""
    settings = load(RecordingsSettings)
    configure_logs("recordings", settings.log_level)
    TRACES.start("recordings")
    return ServiceRunner(create_app(settings), drain_seconds=settings.drain_seconds)


async def _store(app: web.Application) -> AsyncIterator[None]:
    settings = app[SETTINGS]
    client = connect(settings.mongo_url, timeout_seconds=STORE_SECONDS)
    database = client[settings.mongo_database]
    app[CONVERSATIONS] = Conversations(database, call_timeout_ms=settings.call_timeout, seconds=STORE_SECONDS)
    app[HEALTH].add("mongo", partial(ping, database))
    yield
    await client.close()
