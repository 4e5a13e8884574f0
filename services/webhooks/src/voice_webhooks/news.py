"""What was projected, or kept in quarantine, since the last look: by it a quarantined event may now be a tenant's.

Whoever quarantines an event writes it, then notes its ids here; whoever projects one commits, then notes its ids here.
Each looks by these ids for quarantined events afterwards, and reads the ties afresh: so one of the two sees the other.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import NamedTuple

from voice_common.store.envelope import Envelope, read_envelope
from voice_common.store.events import StoredEvent

_MOST = 100_000


class Noted(NamedTuple):
    """Foreign ids and sessions of events."""

    ids: Collection[str]
    sessions: Collection[str]


class News:
    """Ids and sessions that nobody has looked by yet; of very many the oldest are left to the slow way round."""

    def __init__(self) -> None:
        self._ids: dict[str, None] = {}
        self._sessions: dict[str, None] = {}

    def projected(self, events: Iterable[StoredEvent]) -> None:
        """Take note of events that were projected."""
        for event in events:
            self.note(event.envelope or read_envelope(event.body, received_at=event.received_at))

    def note(self, envelope: Envelope) -> None:
        """Take note of one event."""
        self._ids.update(dict.fromkeys(envelope.ids))
        if envelope.session is not None:
            self._sessions[envelope.session] = None
        for names in (self._ids, self._sessions):
            while len(names) > _MOST:
                del names[next(iter(names))]

    def take(self) -> Noted:
        """Give what was noted, and forget it."""
        noted = Noted(list(self._ids), list(self._sessions))
        self._ids.clear()
        self._sessions.clear()
        return noted

    def give_back(self, noted: Noted) -> None:
        """Note again what could not be looked by."""
        self._ids.update(dict.fromkeys(noted.ids))
        self._sessions.update(dict.fromkeys(noted.sessions))
