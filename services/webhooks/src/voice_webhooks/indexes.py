"""The indexes of the collections that this service owns."""

from __future__ import annotations

from voice_common.mongo import Database
from voice_common.store.events import EventStore
from voice_common.store.tenants import TenantStore
from voice_webhooks.projection.documents import create_projection_indexes
from voice_webhooks.quarantine import Quarantine
from voice_webhooks.set_aside import SetAside
from voice_webhooks.workers import WorkerStore


async def make_indexes(database: Database) -> None:
    """Make all of them; safe to repeat."""
    await TenantStore(database).create_indexes()
    await EventStore(database).create_indexes()
    await WorkerStore(database).create_indexes()
    await Quarantine(database).create_indexes()
    await SetAside(database).create_indexes()
    await create_projection_indexes(database)
