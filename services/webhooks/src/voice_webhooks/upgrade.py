"""After a deployment of newer code: documents that older code made are made again, in the background.

Until its turn comes a conversation keeps the facts that the older code found; whatever touches it makes it again
at once. Calls that go on come first. A worker of older code leaves what newer code has made to workers of that code.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

import structlog

from voice_common.mongo import Database, Session, in_transaction
from voice_common.store.conversations import CONVERSATIONS, VERSION
from voice_common.store.facts import Phase
from voice_webhooks.projection.apply import Batch
from voice_webhooks.projection.documents import PARKED
from voice_webhooks.projection.projection import outlasts_its_transaction
from voice_webhooks.projection.states import Key, NewerVersionError

_CHUNK = 50
_CHUNK_BYTES = 1024 * 1024
LOOK_SECONDS = 5.0
_OLDER = {"$in": list(range(VERSION))}
"""Every version before this one: each is a range of its own in an index that goes on with the phase."""
_log = structlog.get_logger("voice.upgrade")

Document = tuple[str, Key]
"""A collection, and the tenant and name of a document in it."""


class Upgrade:
    """Looks for documents of older code and makes them again, some at a time; several at once do no harm."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._passed_over = set[Document]()

    async def look(self) -> None:
        """Make all documents of older code again that can be made again now."""
        self._passed_over.clear()
        while await self.step():
            pass

    async def step(self) -> int:
        """Make some documents again; give how many there were."""
        open_first = await self._older(CONVERSATIONS, {"version": _OLDER, "phase": Phase.OPEN})
        calls = open_first or await self._older(CONVERSATIONS, {"version": _OLDER})
        chosen = [*calls, *await self._older(PARKED, {"version": _OLDER})]
        await self._make_again(chosen)
        return len(chosen)

    async def _make_again(self, chosen: Sequence[Document]) -> None:
        """Make documents again in one transaction, or in several where that is too much for one.

        One that can't be made again now, as what it is tied to is for newer code, waits for the next look.
        """
        if not chosen:
            return
        name = f"upgrade:{uuid.uuid4().hex}"

        async def body(session: Session) -> None:
            calls = [key for collection, key in chosen if collection == CONVERSATIONS]
            parked = [key for collection, key in chosen if collection == PARKED]
            await Batch(self._database, session, name).refresh(calls, parked)

        try:
            await in_transaction(self._database.client, body)
        except Exception as error:
            if not isinstance(error, NewerVersionError) and not outlasts_its_transaction(error):
                raise
            if len(chosen) == 1:
                _log.warning("a document of older code is not made again", error=type(error).__name__)
                self._passed_over.update(chosen)
                return
            middle = len(chosen) // 2
            await self._make_again(chosen[:middle])
            await self._make_again(chosen[middle:])

    async def _older(self, collection: str, wanted: Mapping[str, Any]) -> list[Document]:
        """Give some documents that older code made: one that is large comes alone."""
        size_too = {"_id": 1, "size": {"$bsonSize": "$$ROOT"}}
        at_most = _CHUNK + len(self._passed_over)
        found = await self._database[collection].find(wanted, size_too).limit(at_most).to_list()
        waiting = [
            (key, document["size"])
            for document in found
            if (key := (collection, tuple(document["_id"].values()))) not in self._passed_over
        ][:_CHUNK]
        ends = accumulate(size for _, size in waiting)
        fitting = [key for (key, _), end in zip(waiting, ends, strict=True) if end <= _CHUNK_BYTES]
        return fitting or [key for key, _ in waiting[:1]]
