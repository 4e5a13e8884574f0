"""The collection ``events``: what happened, append-only, the body's bytes as they were received."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from opentelemetry.trace import SpanContext
from pymongo.errors import BulkWriteError

from voice_common.mongo import DURABLE, Database, Session
from voice_common.store.envelope import Envelope
from voice_common.store.indexes import ensure_index
from voice_common.store.keys import pages, within

EVENTS = "events"
DUPLICATE = 11000
_READ_BYTES = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """One event of a tenant; times in milliseconds, `key` the Telnyx public key (base64) that verified it.

    `partial` tells that it is a partial transcript, which contributes nothing and is kept for a shorter time;
    `envelope` is what reading `body` gave, where whoever made this has read it; `origin` is the span that brought it,
    where it is traced. Neither is stored: a document is a function of what was received.
    """

    tenant: str
    stream: str
    event: str
    type: str
    occurred_at: int
    received_at: int
    key: str
    body: bytes
    partial: bool = False
    envelope: Envelope | None = field(default=None, compare=False, repr=False)
    origin: SpanContext | None = field(default=None, compare=False, repr=False)

    def to_document(self, worker: str, seq: int) -> dict[str, Any]:
        """Give the document of this event as number `seq` of a worker; its ``_id`` is what makes it unique."""
        return {
            "_id": event_key(self.tenant, self.stream, self.event),
            "type": self.type,
            "occurred_at": self.occurred_at,
            "received_at": self.received_at,
            "key": self.key,
            "worker": worker,
            "seq": seq,
            "body": self.body,
            **({"partial": True} if self.partial else {}),
        }

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> StoredEvent:
        """Read what `to_document` gave."""
        key = document["_id"]
        return cls(
            key["tenant"],
            key["stream"],
            key["event"],
            document["type"],
            document["occurred_at"],
            document["received_at"],
            document["key"],
            document["body"],
            document.get("partial", False),
        )


def event_key(tenant: str, stream: str, event: str) -> dict[str, str]:
    """Give the ``_id`` of an event: a redelivery always meets the same one."""
    return {"tenant": tenant, "stream": stream, "event": event}


class EventStore:
    """The collection ``events``."""

    def __init__(self, database: Database) -> None:
        self._events = database[EVENTS]
        self._durable = database.get_collection(EVENTS, write_concern=DURABLE)

    async def insert(self, documents: list[dict[str, Any]]) -> Mapping[int, int]:
        """Insert events durably; give the error code of each that was refused, by its place (`DUPLICATE`: it is there).

        A write-concern error is raised: then nothing of the batch is known to be durable, duplicates included.
        """
        try:
            await self._durable.insert_many(documents, ordered=False)
        except BulkWriteError as error:
            if error.details["writeConcernErrors"]:
                raise
            return {refused["index"]: refused["code"] for refused in error.details["writeErrors"]}
        return {}

    async def create_indexes(self) -> None:
        """Make the indexes by which a worker's events are read in their order, and old partials found.

        Safe to repeat.
        """
        await ensure_index(self._events, [("worker", 1), ("seq", 1)], name="by_worker")
        await ensure_index(
            self._events,
            [("_id.tenant", 1), ("received_at", 1)],
            name="partials",
            partialFilterExpression={"partial": True},
        )

    async def of_worker(
        self, worker: str, *, after: int, up_to: int | None = None, limit: int
    ) -> list[tuple[int, StoredEvent]]:
        """Give up to `limit` events that a worker stored, with their numbers, in order, from the one after `after`."""
        seq: dict[str, int] = {"$gt": after} if up_to is None else {"$gt": after, "$lte": up_to}
        found = self._events.find({"worker": worker, "seq": seq}).sort("seq", 1).limit(limit)
        return [(document["seq"], StoredEvent.from_document(document)) async for document in found]

    async def newest_of_worker(
        self, worker: str, *, after: int, before: int | None, limit: int
    ) -> list[tuple[int, StoredEvent]]:
        """Give up to `limit` events of a worker, the last one first, from the one before number `before`.

        Fewer where they are large: no more are given once their bodies have `_READ_BYTES`.
        """
        seq: dict[str, int] = {"$gt": after} if before is None else {"$gt": after, "$lt": before}
        events, size = list[tuple[int, StoredEvent]](), 0
        async with self._events.find({"worker": worker, "seq": seq}).sort("seq", -1).limit(limit) as found:
            async for document in found:
                events.append((document["seq"], StoredEvent.from_document(document)))
                size += len(document["body"])
                if size > _READ_BYTES:
                    break
        return events

    async def count_of_worker(self, worker: str, *, after: int) -> int:
        """Count the events that a worker stored after number `after`."""
        return await self._events.count_documents({"worker": worker, "seq": {"$gt": after}})

    async def scan(
        self, prefix: Mapping[str, str], *, after: Mapping[str, str] | None = None, size: int = 256
    ) -> AsyncIterator[list[StoredEvent]]:
        """Give pages of events by tenant, stream and id: those whose key begins with `prefix`, after key `after`."""
        async for page in pages(self._events, prefix, after=after, size=size):
            yield [StoredEvent.from_document(document) for document in page]

    async def of_stream(
        self, tenant: str, stream: str, *, session: Session | None = None
    ) -> AsyncIterator[StoredEvent]:
        """Give the events of one stream of a tenant, by their id."""
        async for document in self._events.find({"_id": within(tenant=tenant, stream=stream)}, session=session):
            yield StoredEvent.from_document(document)
