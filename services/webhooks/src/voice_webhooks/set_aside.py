"""Events that could not be projected: kept with their error, and tried again by other code than that which failed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from importlib.metadata import version
from typing import Any

import structlog
from pymongo.errors import PyMongoError

from voice_common.mongo import Database
from voice_common.store.conversations import VERSION
from voice_common.store.events import EVENTS, StoredEvent, event_key
from voice_common.store.keys import pages
from voice_common.times import now_ms
from voice_webhooks.projection.apply import NewerVersionError

SET_ASIDE = "set_aside"
CODE = f"{version('voice-webhooks')}/{VERSION}"
"""What tells one deployment's code from another's: its release, and the version of what it makes of events."""

_CHUNK = 50
_LOOK_SECONDS = 30.0
_TRY_AGAIN_SECONDS = 1.0
_log = structlog.get_logger("voice.set_aside")

Project = Callable[[Sequence[StoredEvent]], Awaitable[None]]


class SetAside:
    """The collection ``set_aside``: by the event's key its type, the error, when it was (ms), and by what code."""

    def __init__(self, database: Database) -> None:
        self._set_aside = database[SET_ASIDE]
        self._events = database[EVENTS]

    async def keep(self, event: StoredEvent, error: Exception) -> None:
        """Set an event aside, or write down that it failed again."""
        fields = {"type": event.type, "error": repr(error), "at": now_ms(), "code": CODE}
        await self._set_aside.update_one({"_id": _key_of(event)}, {"$set": fields}, upsert=True)

    async def settle(self, events: Sequence[StoredEvent], *, before: int) -> None:
        """Forget those of some events that have not failed since a moment in milliseconds: they are projected."""
        if events:
            keys = [_key_of(event) for event in events]
            await self._set_aside.delete_many({"_id": {"$in": keys}, "at": {"$lt": before}})

    async def retry(self, project_again: Project, chosen: Mapping[str, Any]) -> int:
        """Project the chosen events again, `_CHUNK` at a time; give how many there were."""
        count = 0
        async for page in pages(self._set_aside, {}, size=_CHUNK, chosen=chosen):
            keys = [document["_id"] for document in page]
            found = await self._events.find({"_id": {"$in": keys}}).to_list()
            await project_again([StoredEvent.from_document(document) for document in found])
            there = {tuple(document["_id"].values()) for document in found}
            gone = [key for key in keys if tuple(key.values()) not in there]
            if gone:  # events that are not kept any more
                await self._set_aside.delete_many({"_id": {"$in": gone}})
            count += len(page)
        return count


class Retries:
    """Tries what was set aside again: all of it once at start, then whatever other code has set aside.

    The worker that starts may be of newer code, or have been given what it lacked. While two releases run side by
    side, each tries what the other could not project.
    """

    def __init__(self, set_aside: SetAside, project_again: Project) -> None:
        self._set_aside = set_aside
        self._project_again = project_again

    async def run(self) -> None:
        """Look until cancelled."""
        chosen: Mapping[str, Any] = {}
        while True:
            try:
                await self._set_aside.retry(self._project_again, chosen)
            except (PyMongoError, NewerVersionError) as error:
                _log.warning("events set aside not tried again", error=type(error).__name__)
                await asyncio.sleep(_TRY_AGAIN_SECONDS)
            else:
                chosen = {"code": {"$ne": CODE}}
                await asyncio.sleep(_LOOK_SECONDS)


def _key_of(event: StoredEvent) -> dict[str, str]:
    return event_key(event.tenant, event.stream, event.event)
