"""Puts the webhooks service together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from functools import partial

from aiohttp import web

from voice_common.background import Background
from voice_common.identity import IdentityVerifier
from voice_common.mongo import connect, ping
from voice_common.settings import load
from voice_common.store.events import EventStore
from voice_common.store.tenants import TenantStore
from voice_common.telemetry.logs import configure_logs
from voice_common.telemetry.traces import TRACES
from voice_common.web.app import make_app
from voice_common.web.callers import IDENTITY_VERIFIER
from voice_common.web.health import HEALTH
from voice_common.web.openapi import add_endpoints
from voice_common.web.runner import ServiceRunner
from voice_webhooks.claim_watch import WATCH_SECONDS, ClaimWatch
from voice_webhooks.directory import CachedDirectory
from voice_webhooks.front import webhook_front
from voice_webhooks.handlers import LARGEST_BODY, RECEPTION, VERIFYING
from voice_webhooks.indexes import make_indexes
from voice_webhooks.intake import Intake
from voice_webhooks.key_ring import KeyRing
from voice_webhooks.news import News
from voice_webhooks.projection.projection import Projection
from voice_webhooks.projector import Projector
from voice_webhooks.quarantine import Quarantine
from voice_webhooks.reception import BodyBounds, Reception
from voice_webhooks.release import LOOK_SECONDS as RELEASE_SECONDS
from voice_webhooks.release import Releaser
from voice_webhooks.retention import LOOK_SECONDS as RETENTION_SECONDS
from voice_webhooks.retention import Retention
from voice_webhooks.routes import ENDPOINTS
from voice_webhooks.set_aside import LOOK_SECONDS as RETRY_SECONDS
from voice_webhooks.set_aside import Retries, SetAside
from voice_webhooks.settings import WebhooksSettings
from voice_webhooks.ties import TieStore
from voice_webhooks.upgrade import LOOK_SECONDS as UPGRADE_SECONDS
from voice_webhooks.upgrade import Upgrade
from voice_webhooks.verifications import VerificationBudget
from voice_webhooks.verifying import Verifying
from voice_webhooks.workers import Registration, WorkerStore

_STORE_SECONDS = 2.0


async def application() -> ServiceRunner:
    """Give the service of one worker process, with settings from the environment."""
    settings = load(WebhooksSettings)
    configure_logs("webhooks", settings.log_level)
    TRACES.start("webhooks")
    app = create_app(settings)
    return ServiceRunner(app, drain_seconds=settings.drain_seconds, front=webhook_front(app))


def create_app(settings: WebhooksSettings) -> web.Application:
    """Assemble the service; nothing connects before it starts."""
    app = make_app("webhooks", log_requests=settings.logs_requests)
    app[LARGEST_BODY] = settings.webhook_bytes
    verifying = Verifying(beside=settings.verifier)
    app[VERIFYING] = verifying
    app[IDENTITY_VERIFIER] = IdentityVerifier(settings.identity_public_keys, "webhooks")
    add_endpoints(app, "webhooks", ENDPOINTS)

    async def resources(app: web.Application) -> AsyncIterator[None]:
        client = connect(settings.mongo_url, timeout_seconds=_STORE_SECONDS)
        database = client[settings.mongo_database]
        app[HEALTH].add("mongo", lambda: ping(database))
        tenants, events, workers = TenantStore(database), EventStore(database), WorkerStore(database)
        quarantine, ties = Quarantine(database), TieStore(database, settings.telnyx_public_keys)
        registration, directory = Registration(workers), CachedDirectory(tenants)
        news = News()
        watch = ClaimWatch(database, directory)
        projection = Projection(database, directory, projected=(news.projected, watch.projected))
        projector = Projector(projection, events, workers, registration)
        intake = Intake(
            database,
            registration,
            projector.committed,
            max_events=settings.intake_queue_events,
            max_bytes=settings.intake_queue_bytes,
        )
        app[RECEPTION] = Reception(
            directory,
            ties,
            intake,
            quarantine,
            news,
            KeyRing(settings.telnyx_public_keys, VerificationBudget(), verifying.check),
            bounds=BodyBounds(settings.webhook_levels, settings.webhook_bytes),
        )
        serving, background = Background(app[HEALTH]), Background()
        intake.start(serving)
        projector.start(serving)
        upgrade, retries = Upgrade(database), Retries(SetAside(database), projection.project_again)
        releaser = Releaser(database, directory, ties, projection, news, settings.telnyx_public_keys)
        indexed = background.keep("indexes", partial(make_indexes, database))
        background.repeat("upgrade", upgrade.look, every=UPGRADE_SECONDS, after=indexed)
        background.repeat("set_aside", retries.look, every=RETRY_SECONDS, after=indexed)
        background.repeat("retention", Retention(database).look, every=RETENTION_SECONDS, after=indexed)
        background.repeat("claims", watch.look, every=WATCH_SECONDS, after=indexed)
        background.repeat("quarantine", releaser.look, every=RELEASE_SECONDS, after=indexed)
        yield
        await background.end()
        with suppress(TimeoutError):  # what is left undone is taken over by another worker
            async with asyncio.timeout(settings.drain_seconds):
                await intake.drain()
                await projector.drain()
        await verifying.close()
        await directory.close()
        await client.close()

    app.cleanup_ctx.append(resources)
    return app
