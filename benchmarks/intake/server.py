"""One webhooks worker for the benchmark: ``python -m benchmarks.intake.server VARIANT PORT MONGO_URL KEY IDENTITY``.

``group`` is the service's own intake; ``none`` verifies, parses and answers, and stores nothing; ``each`` makes an
insert for each request. Handler, signature check, tenant look-up and HTTP server are the same in all three. Events
are not projected here: `benchmarks.projection` measures both together.
"""

from __future__ import annotations

import asyncio
import os
import sys

import uvloop
from aiohttp import web
from pymongo.errors import DuplicateKeyError

from voice_common.identity import IdentityVerifier
from voice_common.mongo import DURABLE, Database, connect
from voice_common.serving import settle_collector
from voice_common.store.events import EVENTS, StoredEvent
from voice_common.store.tenants import TenantStore
from voice_common.telemetry.logs import configure_logs
from voice_common.web.app import make_app
from voice_common.web.callers import IDENTITY_VERIFIER
from voice_common.web.openapi import add_endpoints
from voice_common.web.runner import ServiceRunner
from voice_webhooks.directory import CachedDirectory
from voice_webhooks.front import webhook_front
from voice_webhooks.handlers import LARGEST_BODY, RECEPTION, VERIFYING
from voice_webhooks.intake import Intake, Stored
from voice_webhooks.key_ring import KeyRing
from voice_webhooks.news import News
from voice_webhooks.quarantine import Quarantine
from voice_webhooks.reception import BodyBounds, Reception
from voice_webhooks.routes import ENDPOINTS
from voice_webhooks.ties import TieStore
from voice_webhooks.verifications import VerificationBudget
from voice_webhooks.verifying import Verifying
from voice_webhooks.workers import Registration, WorkerStore


class NoIntake:
    """Answers at once; nothing is stored."""

    async def submit(self, _event: StoredEvent) -> Stored:
        """Say that it was accepted."""
        return Stored.ACCEPTED


class InsertEach:
    """One durable insert for each request."""

    def __init__(self, database: Database) -> None:
        self._events = database.get_collection(EVENTS, write_concern=DURABLE)
        self._seq = 0

    async def submit(self, event: StoredEvent) -> Stored:
        """Insert it."""
        self._seq += 1
        try:
            await self._events.insert_one(event.to_document("each", self._seq))
        except DuplicateKeyError:
            return Stored.DUPLICATE
        return Stored.ACCEPTED


async def serve(variant: str, port: int, mongo_url: str, key: str, identity: str) -> None:
    """Serve one variant until the process is ended."""
    configure_logs("webhooks", "warning")
    client = connect(mongo_url, timeout_seconds=5, max_pool_size=200)
    database = client["voice"]
    registration = Registration(WorkerStore(database))
    group = Intake(database, registration, lambda _worker, _events: None, max_events=4096, max_bytes=64 << 20)
    intake = {"group": group, "none": NoIntake(), "each": InsertEach(database)}[variant]
    app = make_app("webhooks", log_requests=False)
    verifying = Verifying(beside=os.environ.get("VOICE_VERIFIER", "true") == "true")
    app[VERIFYING] = verifying
    app[IDENTITY_VERIFIER] = IdentityVerifier([identity], "webhooks")
    app[RECEPTION] = Reception(
        CachedDirectory(TenantStore(database)),
        TieStore(database, [key]),
        intake,  # type: ignore[arg-type] # a peer in its place
        Quarantine(database),
        News(),
        KeyRing([key], VerificationBudget(), verifying.check),
        bounds=BodyBounds(100, 1 << 20),
    )
    app[LARGEST_BODY] = 1 << 20
    add_endpoints(app, "webhooks", ENDPOINTS)
    group.start()
    runner = ServiceRunner(app, drain_seconds=1, front=webhook_front(app))
    await runner.setup()
    settle_collector()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    print("ready", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(serve(sys.argv[1], int(sys.argv[2]), *sys.argv[3:]))
