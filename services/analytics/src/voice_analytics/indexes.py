"""The indexes that analytics reads by: of its own collections, and one of ``conversations``; and the horizons."""

from __future__ import annotations

from voice_analytics.marks import create_mark_indexes
from voice_analytics.rollups import create_rollup_indexes
from voice_analytics.scan import create_scan_index
from voice_common.mongo import Database
from voice_common.store.horizons import create_horizons


async def make_indexes(database: Database) -> None:
    """Make all of them; safe to repeat."""
    await create_rollup_indexes(database)
    await create_mark_indexes(database)
    await create_scan_index(database)
    await create_horizons(database)
