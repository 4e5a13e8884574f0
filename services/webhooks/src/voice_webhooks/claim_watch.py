"""Notes which claims events match, so that those that match nothing can be named; a write a claim and day at most."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from voice_common.mongo import Database
from voice_common.store.claim_uses import ClaimUses, HeldClaim
from voice_common.store.events import StoredEvent
from voice_common.times import DAY_MS, now_ms
from voice_webhooks.directory import CachedDirectory
from voice_webhooks.tenancy import claims_of

WATCH_SECONDS = 60.0
_TELLING = frozenset({"call.initiated", "call.answered", "call.hangup"})
"""Events by which a call's claims are known; those of an assistant's session by its end. Not all: each would cost."""


class ClaimWatch:
    """One process's notes, written down by `look`."""

    def __init__(self, database: Database, directory: CachedDirectory, *, clock: Callable[[], int] = now_ms) -> None:
        self._uses = ClaimUses(database)
        self._directory = directory
        self._clock = clock
        self._noted: set[HeldClaim] = set()
        self._written: dict[HeldClaim, int] = {}
        self._watched: set[HeldClaim] | None = None

    def projected(self, events: Iterable[StoredEvent]) -> None:
        """Take note of what events that were projected claim."""
        for event in events:
            envelope = event.envelope
            if envelope is None or not (envelope.type in _TELLING or envelope.type.endswith(".ended")):
                continue
            self._noted.update((event.tenant, claim) for claim in claims_of(envelope))

    async def look(self) -> None:
        """Watch new claims, forget those that were taken away, and write down which were matched."""
        directory, now = await self._directory.current(), self._clock()
        held = {(tenant, claim) for claim, tenant in directory.claims.items()}
        known = await self._uses.known() if self._watched is None else self._watched
        await self._uses.watch(held - known, now=now)
        await self._uses.forget(known - held)
        self._watched = held
        noted, self._noted = self._noted & held, set()
        due = {one for one in noted if now - self._written.get(one, 0) >= DAY_MS}
        await self._uses.matched(due, now=now)
        self._written.update(dict.fromkeys(due, now))
