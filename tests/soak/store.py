"""The event store after a run: each acknowledged event once, nothing set aside, nothing left in quarantine."""

from __future__ import annotations

from collections import Counter

from soak.ledger import Ledger
from voice_common.mongo import Database


async def complaint(database: Database, ledger: Ledger) -> str | None:
    """Give the first thing in the store that is not as it was acknowledged."""
    stored: Counter[tuple[str, str]] = Counter()
    async for document in database["events"].find({}, {"_id": 1}):
        stored[document["_id"]["tenant"], document["_id"]["event"]] += 1
    expected = {(ledger.of_event[event].tenant, event) for event in ledger.known}
    lost, foreign = expected - stored.keys(), stored.keys() - expected
    twice = [key for key, count in stored.items() if count > 1]
    if lost or foreign or twice:
        return f"{len(lost)} lost {sorted(lost)[:3]}, {len(twice)} stored twice {twice[:3]}, {len(foreign)} unknown"
    for name in ("quarantine", "set_aside"):
        count = await database[name].count_documents({})
        if count:
            return f"{count} in {name}: {await database[name].find_one({})}"
    return None
