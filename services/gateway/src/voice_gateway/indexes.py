"""The indexes of the collections that the gateway reads by."""

from __future__ import annotations

from voice_common.mongo import Database
from voice_common.store.tenants import TenantStore
from voice_gateway.tokens import TokenStore


async def make_indexes(database: Database) -> None:
    """Make the indexes of tenants, claims and tokens; safe to repeat."""
    await TenantStore(database).create_indexes()
    await TokenStore(database).create_indexes()
