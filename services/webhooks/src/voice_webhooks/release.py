"""Releases quarantined events once a tenant is known for them.

Two things make one known: a changed directory, and a tie that another event brought. After the first, one process,
which holds the lease, looks through the whole quarantine in portions; after the second, the process that projected
the other event looks for what names the same ids. Beside that the holder goes round slowly, for what a crash between
the steps left. So what waits costs next to nothing, however much it is.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial

from voice_common.lease import Lease
from voice_common.mongo import Database
from voice_common.store.envelope import read_envelope
from voice_common.store.events import StoredEvent
from voice_common.store.tenants import Claim, Directory
from voice_webhooks.directory import CachedDirectory
from voice_webhooks.intake import event_of
from voice_webhooks.news import News
from voice_webhooks.projection.projection import Projection
from voice_webhooks.quarantine import Held, Quarantine
from voice_webhooks.storing import BATCH_BYTES, BATCH_EVENTS, Storing, is_stored
from voice_webhooks.telemetry import QUARANTINED, RELEASED
from voice_webhooks.tenancy import claimant, trusted_keys
from voice_webhooks.ties import TieStore

LOOK_SECONDS = 1.0
_LEASE_SECONDS = 5.0
_PORTION = 500
_AT_REST = 50
"""Events that the holder looks at in a second while nothing has changed."""
_LOOK_AT_MOST_SECONDS = 0.5
_COUNT_SECONDS = 10.0


class Releaser:
    """Looks once a second; several at once do no harm: an event that two release is stored once."""

    def __init__(
        self,
        database: Database,
        directory: CachedDirectory,
        ties: TieStore,
        projection: Projection,
        news: News,
        system_keys: Sequence[str],
    ) -> None:
        self._database = database
        self._quarantine = Quarantine(database)
        self._directory = directory
        self._ties = ties
        self._projection = projection
        self._news = news
        self._system_keys = system_keys
        self._lease = Lease(database, "quarantine", seconds=_LEASE_SECONDS)
        self._after: Mapping[str, str] | None = None
        self._looked_through = -1
        """The version of the directory by which all of the quarantine was looked through."""
        self._beginning: int | None = None
        """The version of the directory as a way through all of it began that is not at its end."""
        self._known_claims: frozenset[Claim] | None = None
        self._counted = float("-inf")

    async def look(self) -> int:
        """Release what can be now; give how many events went."""
        released = await self._release_tied()
        if not await self._lease.held():
            QUARANTINED.set(0)  # the holder's figure is the one
            return released
        released += await self._look_through()
        if time.monotonic() - self._counted >= _COUNT_SECONDS or released:
            self._counted = time.monotonic()
            QUARANTINED.set(await self._quarantine.count_unclaimed())
        return released

    async def _release_tied(self) -> int:
        """Release what names an id or a session of what this process projected or quarantined since the last look."""
        noted = self._news.take()
        if not noted.ids and not noted.sessions:
            return 0
        try:
            return await self._release_all(partial(self._quarantine.naming, noted.ids, noted.sessions))
        except BaseException:
            self._news.give_back(noted)
            raise

    async def _release_claimed(self, directory: Directory) -> int:
        """Release what the claims concern that are new since the last look."""
        claims = frozenset(directory.claims)
        known, self._known_claims = self._known_claims, claims
        new = claims - known if known is not None else frozenset()
        return await self._release_all(partial(self._quarantine.claimed_by, new)) if new else 0

    async def _release_all(self, page: Callable[..., Awaitable[list[Held]]]) -> int:
        """Release what can be of all that `page` gives, a portion after the other."""
        released, after = 0, None
        while True:
            held = await page(after=after, limit=_PORTION)
            released += await self._release(held)
            if len(held) < _PORTION:
                return released
            after = held[-1].id

    async def _look_through(self) -> int:
        """Go on through the quarantine: all of it after a change, else a little.

        A change while it is gone through is for the next time: who changes something all the time keeps no event
        from its turn, and what new claims concern is looked for first.
        """
        directory = await self._directory.fresh()
        if self._known_claims is None:
            await self._quarantine.renew_sip_claims()
        released, until = await self._release_claimed(directory), time.monotonic() + _LOOK_AT_MOST_SECONDS
        if self._beginning is None and directory.version != self._looked_through:
            self._beginning, self._after = directory.version, None
        while True:
            limit = _AT_REST if self._beginning is None else _PORTION
            portion = await self._quarantine.unclaimed(after=self._after, limit=limit)
            self._after = portion[-1].id if len(portion) == limit else None
            released += await self._release(portion)
            if self._beginning is not None and self._after is None:
                self._looked_through, self._beginning = self._beginning, None
            if self._beginning is None or time.monotonic() > until:
                return released
            await asyncio.sleep(0)

    async def _release(self, held: Sequence[Held]) -> int:
        """Release those of a portion for which a tenant is known by the directory of now."""
        if not held:
            return 0
        directory = await self._directory.fresh()
        tied = await self._ties.tenants_of([event.named for event in held], directory)
        tenants: dict[tuple[str, ...], tuple[str, str]] = {}
        for event, tied_to in zip(held, tied, strict=True):
            tenant = claimant(directory, event.claims)
            if tenant is None:
                tenant_id = tied_to
            else:
                counts = event.named.key in trusted_keys(tenant, self._system_keys)
                tenant_id = tenant.id if counts else None
            if tenant_id is not None:
                tenants[tuple(event.id.values())] = (tenant_id, event.named.key)
        if tenants:
            await self._let_go([event.id for event in held if tuple(event.id.values()) in tenants], tenants)
        return len(tenants)

    async def _let_go(
        self, ids: Sequence[Mapping[str, str]], tenants: Mapping[tuple[str, ...], tuple[str, str]]
    ) -> None:
        """Store events as their tenants', then remove them: a crash in between leaves them in both, stored once."""
        batch: list[tuple[Mapping[str, str], StoredEvent]] = []
        async with Storing(self._database, self._projection) as storing:
            async for id_, body, received_at in self._quarantine.bodies(ids):
                tenant, key = tenants[tuple(id_.values())]
                envelope = read_envelope(body, received_at=received_at)
                batch.append((id_, event_of(tenant, envelope, key, body, received_at=received_at)))
                if len(batch) >= BATCH_EVENTS or sum(len(event.body) for _, event in batch) >= BATCH_BYTES:
                    await self._store(storing, batch)
                    batch = []
            if batch:
                await self._store(storing, batch)

    async def _store(self, storing: Storing, batch: Sequence[tuple[Mapping[str, str], StoredEvent]]) -> None:
        outcomes = await storing.store([event for _, event in batch])
        stored = [id_ for (id_, _), outcome in zip(batch, outcomes, strict=True) if is_stored(outcome)]
        await self._quarantine.remove(stored)
        RELEASED.inc(len(stored))
