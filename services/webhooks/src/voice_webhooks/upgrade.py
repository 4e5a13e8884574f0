"""After a deployment of newer code: documents that older code made are made again, in the background.

Until its turn comes a conversation keeps the facts that the older code found; whatever touches it makes it again
at once. A worker of older code leaves what newer code has made to workers of that code.
"""

from __future__ import annotations

import asyncio
import uuid
from itertools import accumulate

import structlog
from pymongo.errors import PyMongoError

from voice_common.mongo import Database, Session, in_transaction
from voice_common.store.conversations import CONVERSATIONS, VERSION
from voice_webhooks.projection.apply import Batch, Key, NewerVersionError
from voice_webhooks.projection.documents import PARKED

_CHUNK = 50
_CHUNK_BYTES = 1024 * 1024
_LOOK_SECONDS = 5.0
_log = structlog.get_logger("voice.upgrade")


class Upgrade:
    """Looks for documents of older code and makes them again, some at a time; several at once do no harm."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            try:
                while await self.step():
                    pass
            except (PyMongoError, NewerVersionError) as error:
                _log.warning("documents of older code not made again", error=type(error).__name__)
            await asyncio.sleep(_LOOK_SECONDS)

    async def step(self) -> int:
        """Make some documents again; give how many there were."""
        calls, streams = await self._older(CONVERSATIONS), await self._older(PARKED)
        if calls or streams:
            name = f"upgrade:{uuid.uuid4().hex}"

            async def body(session: Session) -> None:
                await Batch(self._database, session, name).refresh(calls, streams)

            await in_transaction(self._database.client, body)
        return len(calls) + len(streams)

    async def _older(self, collection: str) -> list[Key]:
        """Give some keys of documents that older code made: one that is large comes alone."""
        size_too = {"_id": 1, "size": {"$bsonSize": "$$ROOT"}}
        found = await self._database[collection].find({"version": {"$lt": VERSION}}, size_too).limit(_CHUNK).to_list()
        ends = accumulate(document["size"] for document in found)
        chosen = [document for document, end in zip(found, ends, strict=True) if end <= _CHUNK_BYTES] or found[:1]
        return [(tenant, name) for tenant, name in (document["_id"].values() for document in chosen)]
