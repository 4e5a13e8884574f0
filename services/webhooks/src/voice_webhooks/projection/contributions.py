"""What stored events contribute, without keeping requests waiting for it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass

from voice_common.store.envelope import UnreadableEventError, read_envelope
from voice_common.store.events import StoredEvent
from voice_common.store.state import CallState
from voice_webhooks.contribution import contribution_of
from voice_webhooks.projection.bounds import Turns

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
    turns = Turns()
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
        await turns.end()
    return contributions
