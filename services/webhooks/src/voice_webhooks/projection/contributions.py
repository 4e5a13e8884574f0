"""What stored events contribute, without keeping requests waiting for it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from dataclasses import dataclass

from voice_common.store.envelope import UnreadableEventError, read_envelope
from voice_common.store.events import StoredEvent
from voice_common.store.state import CallState
from voice_webhooks.contribution import contribution_of

_LONGEST_TURN_SECONDS = 0.005
_LARGE_BODY = 4096  # bytes; what takes long to score, takes more than these


@dataclass(frozen=True, slots=True)
class Contribution:
    """What one event adds to one stream of a tenant."""

    tenant: str
    stream: str
    state: CallState


async def contributions_of(events: Iterable[StoredEvent]) -> list[Contribution]:
    """Give what stored events contribute; requests are let in between, since scoring words takes its time."""
    contributions = []
    let_in_at = time.perf_counter()
    for event in events:
        try:
            envelope = event.envelope or read_envelope(event.body, received_at=event.received_at)
        except UnreadableEventError as error:  # it was readable when it was stored
            raise RuntimeError("a stored event can't be read") from error
        if len(event.body) > _LARGE_BODY:
            state = await asyncio.to_thread(contribution_of, envelope, event.key)
        else:
            state = contribution_of(envelope, event.key)
        if state is not None:
            contributions.append(Contribution(event.tenant, event.stream, state))
        if time.perf_counter() - let_in_at > _LONGEST_TURN_SECONDS:
            await asyncio.sleep(0)
            let_in_at = time.perf_counter()
    return contributions
