"""What happens to one webhook: verified, given to its tenant, stored; or kept in quarantine, or refused."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from voice_common.errors import BadRequest, Unauthorized
from voice_common.store.envelope import Envelope, UnreadableEventError, read_envelope
from voice_common.store.events import StoredEvent
from voice_common.store.tenants import Directory
from voice_webhooks.contribution.transcripts import is_partial
from voice_webhooks.directory import CachedDirectory
from voice_webhooks.intake import Intake, Stored
from voice_webhooks.quarantine import UNCLAIMED, Quarantine
from voice_webhooks.signature import InvalidSignatureError, Signed, read_signed
from voice_webhooks.tenancy import claimant, claims_of, known_keys, trusted_keys
from voice_webhooks.ties import Named, TieStore
from voice_webhooks.verifications import VerificationBudget

_YIELD_EVERY = 16


class Result(StrEnum):
    """What a webhook is answered with 200 for."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    QUARANTINED = "quarantined"


@dataclass(frozen=True, slots=True)
class _Decision:
    """The key that verified an event, and its tenant where one is known."""

    key: str | None
    tenant: str | None


class InvalidWebhookSignature(Unauthorized):
    """No key that counts made the signature; nothing is stored."""

    message = "Invalid webhook signature"


class Reception:
    """Takes webhooks in; all its answers are exact for the directory of the moment."""

    def __init__(
        self,
        directory: CachedDirectory,
        ties: TieStore,
        intake: Intake,
        quarantine: Quarantine,
        system_keys: Sequence[str],
        budget: VerificationBudget,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._directory = directory
        self._ties = ties
        self._intake = intake
        self._quarantine = quarantine
        self._system_keys = system_keys
        self._budget = budget
        self._clock = clock

    async def receive(self, body: bytes, signature: str | None, timestamp: str | None) -> Result:
        """Take one webhook in.

        Raises `InvalidWebhookSignature`, `BadRequest` for a signed body that can't be read (it is kept), and
        `Unavailable` where it is not certain that the event is durable.
        """
        now = self._clock()
        try:
            signed = read_signed(body, signature, timestamp, now=now)
        except InvalidSignatureError as error:
            raise InvalidWebhookSignature from error
        received_at = int(now * 1000)
        try:
            envelope = read_envelope(body, received_at=received_at)
        except UnreadableEventError as error:
            await self._keep_unreadable(signed, body, str(error), received_at)
            raise BadRequest(f"The webhook was kept but can't be used: {error}") from error
        decision = await self._decide(signed, envelope, await self._directory.current())
        if decision.tenant is None:
            # A copy of the directory may be a second old: nobody is refused or quarantined by it.
            decision = await self._decide(signed, envelope, await self._directory.fresh())
        if decision.key is None:
            raise InvalidWebhookSignature
        if decision.tenant is None:
            await self._quarantine.keep(body, decision.key, envelope, UNCLAIMED, received_at=received_at)
            return Result.QUARANTINED
        stored = await self._intake.submit(
            StoredEvent(
                decision.tenant,
                envelope.stream,
                envelope.event,
                envelope.type,
                envelope.occurred_at,
                received_at,
                decision.key,
                body,
                is_partial(envelope),
                envelope,
            )
        )
        return Result.DUPLICATE if stored is Stored.DUPLICATE else Result.ACCEPTED

    async def _decide(self, signed: Signed, envelope: Envelope, directory: Directory) -> _Decision:
        tenant = claimant(directory, claims_of(envelope))
        if tenant is not None:
            key = signed.first_verifier(trusted_keys(tenant, self._system_keys))
            return _Decision(key, tenant.id if key else None)
        key = await self._any_verifier(signed, directory)
        if key is None:
            return _Decision(None, None)
        (tied,) = await self._ties.tenants_of([Named(envelope.session, envelope.ids, key)], directory)
        return _Decision(key, tied)

    async def _any_verifier(self, signed: Signed, directory: Directory) -> str | None:
        """Give the first known key that made the signature; each try is paid for out of the budget."""
        return await _first_verifier(signed, self._budget.spend_on(known_keys(directory, self._system_keys)))

    async def _keep_unreadable(self, signed: Signed, body: bytes, reason: str, received_at: int) -> None:
        key = await self._any_verifier(signed, await self._directory.current())
        if key is None:
            key = await self._any_verifier(signed, await self._directory.fresh())
        if key is None:
            raise InvalidWebhookSignature
        await self._quarantine.keep(body, key, None, reason, received_at=received_at)


async def _first_verifier(signed: Signed, keys: Iterable[str]) -> str | None:
    for place, key in enumerate(keys, start=1):
        if signed.verified_by(key):
            return key
        if place % _YIELD_EVERY == 0:
            await asyncio.sleep(0)
    return None
