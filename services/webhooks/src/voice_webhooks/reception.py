"""What happens to one webhook: verified, given to its tenant, stored; or kept in quarantine, or refused."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from enum import StrEnum
from typing import NamedTuple

from voice_common.errors import BadRequest, Unauthorized, Unavailable
from voice_common.store.envelope import Envelope, UnreadableEventError, read_envelope
from voice_common.store.tenants import Directory
from voice_common.telemetry.tally import TALLY
from voice_webhooks.content_coding import UnreadableCodingError, decoded
from voice_webhooks.directory import CachedDirectory
from voice_webhooks.intake import ANSWER_SECONDS, Intake, Stored, event_of
from voice_webhooks.key_ring import KeyRing, Trial
from voice_webhooks.news import News
from voice_webhooks.quarantine import UNCLAIMED, Quarantine
from voice_webhooks.signature import InvalidSignatureError, read_signed
from voice_webhooks.telemetry import event_counter
from voice_webhooks.tenancy import claimant, claims_of
from voice_webhooks.ties import Named, TieStore


class Result(StrEnum):
    """What a webhook is answered with 200 for."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    QUARANTINED = "quarantined"


class _Decision(NamedTuple):
    """The key that verified an event (empty: none did), and its tenant where one is known."""

    key: str
    tenant: str | None


_NOBODY = _Decision("", None)


class BodyBounds(NamedTuple):
    """How many levels a webhook's JSON may be nested, and how many bytes it may have, decoded."""

    levels: int
    largest: int


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
        news: News,
        keys: KeyRing,
        *,
        bounds: BodyBounds,
    ) -> None:
        self._directory = directory
        self._ties = ties
        self._intake = intake
        self._quarantine = quarantine
        self._news = news
        self._keys = keys
        self._bounds = bounds

    async def receive(
        self, body: bytes, signature: str | None, timestamp: str | None, codings: tuple[str, ...] = ()
    ) -> Result:
        """Take one webhook in; `codings` are what its body is coded by, as it was sent and signed.

        Raises `InvalidWebhookSignature`, `BadRequest` for a signed body that can't be read (it is kept),
        `ContentTooLarge` for a coded one that has too many bytes, and `Unavailable` where it is not certain that the
        event is durable.
        """
        now = time.time()
        try:
            signed = read_signed(body, signature, timestamp, now=now)
        except InvalidSignatureError as error:
            raise InvalidWebhookSignature from error
        trial = self._keys.trial(signed)
        received_at = int(now * 1000)
        if codings:
            body = await self._decoded(trial, body, codings, received_at)
        try:
            envelope = read_envelope(body, received_at=received_at, deepest=self._bounds.levels)
        except UnreadableEventError as error:
            async with _in_time():
                await self._keep_unreadable(trial, body, str(error), received_at)
            raise _kept(error) from error
        directory = self._directory.at_hand()
        decision = None if directory is None else await self._of_claimant(trial, envelope, directory)
        if decision is not None and decision.tenant is not None:
            result = await self._store(decision.tenant, decision.key, envelope, body, received_at)
        else:
            async with _in_time():
                result = await self._look_up(trial, envelope, body, received_at)
        TALLY.count(event_counter(envelope.type, result))
        return result

    async def _look_up(self, trial: Trial, envelope: Envelope, body: bytes, received_at: int) -> Result:
        """Find out by the store whose event it is; a copy of the directory alone refuses and quarantines nobody."""
        decision = await self._decide(trial, envelope, await self._directory.current())
        if decision.tenant is None:
            decision = await self._decide(trial, envelope, await self._directory.fresh())
        if not decision.key:
            raise InvalidWebhookSignature
        if decision.tenant is None:
            await self._quarantine.keep(body, decision.key, envelope, UNCLAIMED, received_at=received_at)
            self._news.note(envelope)  # what ties it may have come since it was looked for
            return Result.QUARANTINED
        return await self._store(decision.tenant, decision.key, envelope, body, received_at)

    async def _store(self, tenant: str, key: str, envelope: Envelope, body: bytes, received_at: int) -> Result:
        stored = await self._intake.submit(event_of(tenant, envelope, key, body, received_at=received_at))
        return Result.DUPLICATE if stored is Stored.DUPLICATE else Result.ACCEPTED

    async def _decide(self, trial: Trial, envelope: Envelope, directory: Directory) -> _Decision:
        claimed = await self._of_claimant(trial, envelope, directory)
        if claimed is not None:
            return claimed
        key = await trial.any_verifier(directory)
        if key is None:
            return _NOBODY
        (tied,) = await self._ties.tenants_of([Named(envelope.session, envelope.ids, key)], directory)
        return _Decision(key, tied)

    async def _of_claimant(self, trial: Trial, envelope: Envelope, directory: Directory) -> _Decision | None:
        """Decide by claims alone; ``None`` where nobody has claimed any of the event's ids."""
        tenant = claimant(directory, claims_of(envelope))
        if tenant is None:
            return None
        key = await trial.verifier_of(tenant)
        return _NOBODY if key is None else _Decision(key, tenant.id)

    async def _decoded(self, trial: Trial, body: bytes, codings: tuple[str, ...], received_at: int) -> bytes:
        """Decode a body that some known key signed as it was sent; nobody else's is decoded at all."""
        async with _in_time():
            key = await self._verifier(trial)
            try:
                return decoded(body, codings, largest=self._bounds.largest)
            except UnreadableCodingError as error:
                await self._quarantine.keep(body, key, None, str(error), received_at=received_at)
                raise _kept(error) from error

    async def _keep_unreadable(self, trial: Trial, body: bytes, reason: str, received_at: int) -> None:
        await self._quarantine.keep(body, await self._verifier(trial), None, reason, received_at=received_at)

    async def _verifier(self, trial: Trial) -> str:
        """Give the known key that verifies, whosever it is; raise `InvalidWebhookSignature`."""
        key = await trial.any_verifier(await self._directory.current())
        if key is None:
            key = await trial.any_verifier(await self._directory.fresh())
        if key is None:
            raise InvalidWebhookSignature
        return key


def _kept(error: Exception) -> BadRequest:
    return BadRequest(f"The webhook was kept but can't be used: {error}")


@asynccontextmanager
async def _in_time() -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            yield
    except TimeoutError as error:
        raise Unavailable("The webhook could not be stored in time") from error
