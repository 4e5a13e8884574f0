"""Deletes events that were received long enough ago, a page at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pymongo

from voice_common.faults import reach
from voice_common.mongo import Database
from voice_common.store.events import EVENTS
from voice_common.store.horizons import HORIZONS, horizon_key
from voice_webhooks.workers import WorkerStore

_PAGE = 500
_BY_RECEIPT = "by_receipt"
_INDEX_SECONDS = 3600.0


class Expiry:
    """Old events of one tenant after the other; each page is a step that can be the last, or be done twice."""

    def __init__(self, database: Database, workers: WorkerStore) -> None:
        self._events = database[EVENTS]
        self._set_aside = database["set_aside"]
        self._horizons = database[HORIZONS]
        self._workers = workers

    async def index(self, *, wanted: bool) -> None:
        """Make the index that `delete_events` reads by, or drop it: every stored event pays for it."""
        there = _BY_RECEIPT in await self._events.index_information()
        with pymongo.timeout(_INDEX_SECONDS):
            if wanted and not there:
                await self._events.create_index([("_id.tenant", 1), ("received_at", 1)], name=_BY_RECEIPT)
            elif there and not wanted:
                await self._events.drop_index(_BY_RECEIPT)

    async def delete_partials(self, tenant: str, before: int) -> int:
        """Delete some partial transcripts received before a moment in milliseconds; give how many there were.

        Whether they are projected does not matter: they contribute nothing.
        """
        page = await self._page({"_id.tenant": tenant, "received_at": {"$lt": before}, "partial": True}, "partials")
        return await self._delete(page)

    async def delete_events(self, tenant: str, before: int) -> int:
        """Delete some events received before a moment in milliseconds; give how many there were.

        One that is not projected yet is left for later: it may have been released from quarantine just now.
        """
        page = await self._page({"_id.tenant": tenant, "received_at": {"$lt": before}}, _BY_RECEIPT)
        if not page:
            return 0
        # After the page: a worker that is not there any more has nothing left to project.
        checkpoints = await self._workers.checkpoints()
        projected = [event for event in page if event["seq"] <= checkpoints.get(event["worker"], event["seq"])]
        # Before the first event goes: nothing may be computed from what is left as if that were all.
        await self._horizons.update_one(
            {"_id": horizon_key(tenant)}, {"$max": {"events_gone_before": before}}, upsert=True
        )
        if __debug__:
            reach("expiry.announced")
        return await self._delete(projected)

    async def _page(self, chosen: Mapping[str, Any], index: str) -> list[dict[str, Any]]:
        found = self._events.find(chosen, {"worker": 1, "seq": 1}).sort("received_at", 1).limit(_PAGE)
        return await found.hint(index).to_list()

    async def _delete(self, events: Sequence[Mapping[str, Any]]) -> int:
        keys = [event["_id"] for event in events]
        if keys:
            await self._events.delete_many({"_id": {"$in": keys}})
            await self._set_aside.delete_many({"_id": {"$in": keys}})
        return len(keys)
