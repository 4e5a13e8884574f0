"""Releases quarantined events once a tenant is known for them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence

from voice_common.faults import reach
from voice_common.store.envelope import read_envelope
from voice_common.store.tenants import Claim, Directory
from voice_webhooks.directory import CachedDirectory
from voice_webhooks.intake import Intake, event_of
from voice_webhooks.quarantine import Held, Quarantine
from voice_webhooks.telemetry import QUARANTINED, RELEASED
from voice_webhooks.tenancy import claimant, trusted_keys
from voice_webhooks.ties import TieStore

_CHUNK = 1000
LOOK_SECONDS = 1.0
_LOOK_AT_MOST_SECONDS = 0.5


class Releaser:
    """Looks through the quarantine all the time, some chunks a second, and at once at what a new claim concerns.

    Several at once do no harm: an event that two release is stored once.
    """

    def __init__(
        self,
        quarantine: Quarantine,
        directory: CachedDirectory,
        ties: TieStore,
        intake: Intake,
        system_keys: Sequence[str],
    ) -> None:
        self._quarantine = quarantine
        self._directory = directory
        self._ties = ties
        self._intake = intake
        self._system_keys = system_keys
        self._after: Mapping[str, str] | None = None
        self._known_claims: frozenset[Claim] | None = None

    async def look(self) -> int:
        """Release what new claims concern, and what can be of the next chunks; give how many events went."""
        if self._known_claims is None:
            await self._quarantine.renew_sip_claims()
        directory = await self._directory.fresh()
        released = await self._release_claimed(directory)
        until = time.monotonic() + _LOOK_AT_MOST_SECONDS
        while True:
            chunk = await self._quarantine.unclaimed(after=self._after, limit=_CHUNK)
            self._after = chunk[-1].id if len(chunk) == _CHUNK else None
            released += await self._release(chunk, directory)
            if self._after is None or time.monotonic() > until:
                break
        QUARANTINED.set(await self._quarantine.count_unclaimed())
        return released

    async def _release_claimed(self, directory: Directory) -> int:
        claims = frozenset(directory.claims)
        known, self._known_claims = self._known_claims, claims
        new = claims - known if known is not None else frozenset()
        released = 0
        while new and (held := await self._quarantine.claimed_by(new, limit=_CHUNK)):
            went = await self._release(held, directory)
            released += went
            if not went:  # all of these are somebody else's, or signed with a key that does not count
                break
        return released

    async def _release(self, held: Sequence[Held], directory: Directory) -> int:
        tied = await self._ties.tenants_of([event.named for event in held], directory)
        going = []
        for event, tied_to in zip(held, tied, strict=True):
            tenant = claimant(directory, event.claims)
            if tenant is None:
                tenant_id = tied_to
            else:
                counts = event.named.key in trusted_keys(tenant, self._system_keys)
                tenant_id = tenant.id if counts else None
            if tenant_id is not None:
                going.append(self._let_go(event, tenant_id))
        await asyncio.gather(*going)
        RELEASED.inc(len(going))
        return len(going)

    async def _let_go(self, held: Held, tenant: str) -> None:
        """Store one event as its tenant's, then remove it: a crash in between leaves it in both, stored once."""
        kept = await self._quarantine.body(held.id)
        if kept is None:
            return
        body, received_at = kept
        envelope = read_envelope(body, received_at=received_at)
        await self._intake.submit(event_of(tenant, envelope, held.named.key, body, received_at=received_at))
        if __debug__:
            reach("release.stored")
        await self._quarantine.remove([held.id])
