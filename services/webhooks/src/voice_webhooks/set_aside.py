"""Events that could not be projected: kept with their error, and tried again by other code than that which failed.

What is of a call that newer code has made is kept here too, with the version that it `needs`: workers of that code
look for it once a second, so that while two releases run side by side nobody waits for long.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from importlib.metadata import version
from typing import Any

from pymongo import UpdateOne

from voice_common.mongo import Database
from voice_common.store.conversations import VERSION
from voice_common.store.events import EVENTS, StoredEvent, event_key
from voice_common.store.indexes import ensure_index
from voice_common.store.keys import pages
from voice_common.telemetry.failures import name_of
from voice_common.times import now_ms
from voice_webhooks.projection.states import NewerVersionError

SET_ASIDE = "set_aside"
CODE = f"{version('voice-webhooks')}/{VERSION}"
"""What tells one deployment's code from another's: its release, and the version of what it makes of events."""

_CHUNK = 50
LOOK_SECONDS = 1.0
_TRY_AGAIN_SECONDS = 30.0

Project = Callable[[Sequence[StoredEvent]], Awaitable[None]]


class SetAside:
    """The collection ``set_aside``: by the event's key its type, the error, when it was (ms), and by what code."""

    def __init__(self, database: Database) -> None:
        self._set_aside = database[SET_ASIDE]
        self._events = database[EVENTS]

    async def keep(self, event: StoredEvent, error: Exception) -> None:
        """Set an event aside, or write down that it failed again."""
        fields = {"type": event.type, "error": name_of(error), "at": now_ms(), "code": CODE}
        await self._set_aside.update_one(
            {"_id": _key_of(event)}, {"$set": fields, "$unset": {"needs": ""}}, upsert=True
        )

    async def leave(self, events: Sequence[StoredEvent], error: NewerVersionError) -> None:
        """Leave events to code of the version that made their calls."""
        fields = {"error": str(error), "at": now_ms(), "code": CODE, "needs": error.version}
        await self._set_aside.bulk_write(
            [
                UpdateOne({"_id": _key_of(event)}, {"$set": {"type": event.type, **fields}}, upsert=True)
                for event in events
            ],
            ordered=False,
        )

    async def settle(self, events: Sequence[StoredEvent], *, before: int) -> None:
        """Forget those of some events that have not failed since a moment in milliseconds: they are projected."""
        if events:
            keys = [_key_of(event) for event in events]
            await self._set_aside.delete_many({"_id": {"$in": keys}, "at": {"$lt": before}})

    async def retry(self, project_again: Project, chosen: Mapping[str, Any]) -> int:
        """Project the chosen events again, `_CHUNK` at a time; give how many there were."""
        count = 0
        async for page in pages(self._set_aside, {}, size=_CHUNK, chosen=chosen):
            await self._again(project_again, [document["_id"] for document in page])
            count += len(page)
        return count

    async def take_left(self, project_again: Project) -> int:
        """Project what older code has left to this one; give how many events there were."""
        count = 0
        while True:
            found = self._set_aside.find({"needs": {"$lte": VERSION}}, {"_id": 1}).sort("needs", 1).limit(_CHUNK)
            keys = [document["_id"] async for document in found]
            if not keys:
                return count
            await self._again(project_again, keys)
            count += len(keys)

    async def create_indexes(self) -> None:
        """Make the index by which newer code finds what is left to it; safe to repeat."""
        await ensure_index(self._set_aside, "needs", name="by_need", sparse=True)

    async def _again(self, project_again: Project, keys: list[dict[str, str]]) -> None:
        found = await self._events.find({"_id": {"$in": keys}}).to_list()
        await project_again([StoredEvent.from_document(document) for document in found])
        there = {tuple(document["_id"].values()) for document in found}
        gone = [key for key in keys if tuple(key.values()) not in there]
        if gone:  # events that are not kept any more
            await self._set_aside.delete_many({"_id": {"$in": gone}})


class Retries:
    """Tries what was set aside again: all of it once at start, then whatever other code has set aside.

    The worker that starts may be of newer code, or have been given what it lacked. While two releases run side by
    side, each tries what the other could not project; what needs newer code is tried by that alone.
    """

    def __init__(self, set_aside: SetAside, project_again: Project) -> None:
        self._set_aside = set_aside
        self._project_again = project_again
        self._chosen: Mapping[str, Any] = {}
        self._due = time.monotonic()

    async def look(self) -> None:
        """Project what was left to this code, and twice a minute what else can be tried again."""
        await self._set_aside.take_left(self._project_again)
        if time.monotonic() >= self._due:
            await self._set_aside.retry(self._project_again, {**self._chosen, "needs": None})
            self._chosen, self._due = {"code": {"$ne": CODE}}, time.monotonic() + _TRY_AGAIN_SECONDS


def _key_of(event: StoredEvent) -> dict[str, str]:
    return event_key(event.tenant, event.stream, event.event)
