"""Sends events as Telnyx does: signed, several at a time, again where the answer says so."""

from __future__ import annotations

import asyncio
import base64
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import aiohttp
from nacl.signing import SigningKey

from voice_local.simulation.story import Call, Event

_AT_ONCE = 24
_TELNYX_WAITS = aiohttp.ClientTimeout(total=2)
_GIVE_UP = 60.0
_LONGEST_PAUSE = 1.0
_TRIED_AGAIN = frozenset({408, 429, 500, 502, 503, 504})
_OK = 200


class DeliveryError(Exception):
    """An event was refused, or not taken for a long time; the text is one sentence."""


class Signer:
    """Signs bodies as Telnyx does, with a private key (base64 of 32 raw bytes)."""

    def __init__(self, private_key: str) -> None:
        self._key = SigningKey(base64.b64decode(private_key))

    def headers(self, body: bytes) -> dict[str, str]:
        """Give the headers of a delivery that is made now."""
        timestamp = str(int(time.time()))
        signature = self._key.sign(f"{timestamp}|".encode() + body).signature
        return {
            "Content-Type": "application/json",
            "telnyx-timestamp": timestamp,
            "telnyx-signature-ed25519": base64.b64encode(signature).decode(),
        }


@dataclass(slots=True)
class Receipt:
    """What became of the deliveries: answers by their status, and how many were made again."""

    accepted: int = 0
    duplicate: int = 0
    quarantined: int = 0
    retried: int = 0


def planned(
    calls: Sequence[Call], *, shuffle: bool = False, duplicates: float = 0.0, seed: int = 0
) -> list[tuple[Event, int]]:
    """Give the deliveries in their order, each with its attempt's number.

    By the events' times, or in any order with `shuffle`; `duplicates` is the share of events that come twice.
    """
    rng = random.Random(seed)  # noqa: S311 - no secret
    events = sorted((event for call in calls for event in call.events), key=lambda event: (event.at, event.id))
    deliveries = [(event, 1) for event in events]
    deliveries += [(event, 2) for event in rng.sample(events, round(duplicates * len(events)))]
    if shuffle:
        rng.shuffle(deliveries)
    else:
        deliveries.sort(key=lambda delivery: (delivery[0].at, delivery[0].id, delivery[1]))
    return deliveries


async def deliver(
    deliveries: Sequence[tuple[Event, int]],
    base_url: str,
    signer: Signer,
    session: aiohttp.ClientSession,
    *,
    rate: float | None = None,
    delivered: Callable[[], object] = lambda: None,
) -> Receipt:
    """Make all deliveries, at most `rate` a second; `delivered` is called after each that was acknowledged.

    Raises `DeliveryError` where one is refused for good or is not taken within a minute.
    """
    receipt = Receipt()
    pending = enumerate(deliveries)
    begun = time.monotonic()

    async def courier() -> None:
        for number, (event, attempt) in pending:
            if rate is not None:
                await asyncio.sleep(begun + number / rate - time.monotonic())
            status = await _delivered(event, attempt, base_url, signer, session, receipt)
            setattr(receipt, status, getattr(receipt, status) + 1)
            delivered()

    try:
        async with asyncio.TaskGroup() as couriers:
            for _ in range(_AT_ONCE):
                couriers.create_task(courier())
    except* DeliveryError as errors:
        raise errors.exceptions[0] from None
    return receipt


async def _delivered(
    event: Event, attempt: int, base_url: str, signer: Signer, session: aiohttp.ClientSession, receipt: Receipt
) -> str:
    """Deliver one event until it is acknowledged; give the acknowledgement's status."""
    body, pause, begun = event.body(attempt), 0.05, time.monotonic()
    while True:
        reason = "no answer"
        try:
            async with session.post(
                base_url + event.path, data=body, headers=signer.headers(body), timeout=_TELNYX_WAITS
            ) as response:
                if response.status == _OK:
                    return str((await response.json())["status"])
                reason = f"answer {response.status} {(await response.text())[:200]}"
                if response.status not in _TRIED_AGAIN:
                    raise DeliveryError(f"The event {event.id} ({event.type}) was refused: {reason}")
        except (aiohttp.ClientError, TimeoutError) as error:
            reason = type(error).__name__
        if time.monotonic() - begun > _GIVE_UP:
            raise DeliveryError(f"The event {event.id} ({event.type}) was not taken within {_GIVE_UP:.0f} s: {reason}")
        receipt.retried += 1
        await asyncio.sleep(pause * random.uniform(0.5, 1))  # noqa: S311 - spreads the retries
        pause = min(pause * 2, _LONGEST_PAUSE)
