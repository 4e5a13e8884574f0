"""A lease: at most one holder at a time, as far as it matters, by the server's clock."""

from __future__ import annotations

import time
import uuid

from pymongo import ReturnDocument

from voice_common.mongo import Database

LEASES = "leases"


class Lease:
    """The right to do some work, for `seconds` from its last renewal.

    A holder that was paused can still be at work when the next one begins: what it guards must bear that.
    """

    def __init__(self, database: Database, name: str, *, seconds: float) -> None:
        self._leases = database[LEASES]
        self._name = name
        self._seconds = seconds
        self._holder = uuid.uuid4().hex
        self._held = False
        self._asked = -seconds

    async def held(self) -> bool:
        """Tell whether this process holds the lease; takes or renews it where that is due."""
        if time.monotonic() - self._asked >= self._seconds / 5:
            self._asked = time.monotonic()
            self._held = False  # should the store not answer
            self._held = await self._take()
        return self._held

    async def release(self) -> None:
        """Give the lease back, so that the next holder need not wait."""
        if self._held:
            self._held = False
            await self._leases.delete_one({"_id": self._name, "holder": self._holder})

    async def _take(self) -> bool:
        free = {"$or": [{"$eq": ["$holder", self._holder]}, {"$lt": [{"$ifNull": ["$until", 0]}, "$$NOW"]}]}
        until = {"$dateAdd": {"startDate": "$$NOW", "unit": "millisecond", "amount": int(self._seconds * 1000)}}
        document = await self._leases.find_one_and_update(
            {"_id": self._name},
            [
                {
                    "$set": {
                        "holder": {"$cond": [free, self._holder, "$holder"]},
                        "until": {"$cond": [free, until, "$until"]},
                    }
                }
            ],
            upsert=True,
            return_document=ReturnDocument.AFTER,
        )
        return document is not None and document["holder"] == self._holder
