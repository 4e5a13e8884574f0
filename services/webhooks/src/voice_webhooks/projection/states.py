"""States out of stored documents of any version, in the session of one snapshot transaction."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from voice_common.mongo import Database, Document, Session
from voice_common.store.conversations import VERSION
from voice_common.store.horizons import Horizon
from voice_common.store.state import CallState
from voice_webhooks.projection.bounds import CallTooLargeError, Turns, bounded
from voice_webhooks.projection.recompute import NotComputableError, Recompute

Key = tuple[str, str]
"""A tenant and a session, stream or foreign id of it."""

RECOMPUTED_EVENTS = 2000
"""Events after which a transaction recomputes no further document: tenths of a second, of the 5 that it may last."""


class NewerVersionError(Exception):
    """Documents were made by newer code, and are for workers of that code to go on with.

    `streams` are those of these calls and parked states, with their tenants; `version` is the newest one.
    """

    def __init__(self, streams: Collection[Key], version: int) -> None:
        super().__init__(f"made by code of version {version}, this is of {VERSION}")
        self.streams = frozenset(streams)
        self.version = version


class TooMuchRecomputedError(Exception):
    """Documents of older code have more events together than one transaction recomputes: take them in portions."""


class States:
    """Reads states. `horizons` has those of every tenant that is asked for, by then.

    With `replaces_newer` a document of newer code is computed from its events like one of older code.
    """

    def __init__(
        self,
        database: Database,
        session: Session,
        turns: Turns,
        horizons: Mapping[str, Horizon],
        *,
        replaces_newer: bool,
    ) -> None:
        self._database = database
        self._session = session
        self._turns = turns
        self._horizons = horizons
        self._replaces_newer = replaces_newer
        self._recomputed_events = 0
        self.frozen: dict[Key, CallState] = {}
        """Of calls that older code made and no event can tell anew: the state as it was, by tenant and session."""

    async def of_document(self, document: dict[str, Any]) -> CallState | None:
        """Read a state; one of another version is computed from its events again, where they are all kept.

        ``None`` where newer code made the document and nothing else can be told. Raises `TooMuchRecomputedError`.
        """
        version = document["version"]
        if version > VERSION:
            return await self._recomputed(document) if self._replaces_newer else None
        if version < VERSION:
            recomputed = await self._recomputed(document)
            if recomputed is not None:
                return recomputed
        known = document["state"]
        state = await self._turns.work(CallState.size_in(known), CallState.from_document, known)
        if version < VERSION and "session" in document["_id"]:
            self.frozen[document["_id"]["tenant"], document["_id"]["session"]] = state
        return state

    async def _recomputed(self, document: dict[str, Any]) -> CallState | None:
        """Compute a state from its events; ``None`` where they are not all kept, or not all of them are in it."""
        tenant, name = document["_id"].values()
        started_at = document["state"].get("started_at")
        if started_at is None or self._horizons[tenant].freezes(started_at):
            return None
        if self._recomputed_events >= RECOMPUTED_EVENTS:
            raise TooMuchRecomputedError
        recompute = Recompute(self._database, self._session)
        try:
            state = await (recompute.conversation if "session" in document["_id"] else recompute.stream)(tenant, name)
            # What would move it to a sealed day was left out when it came.
            if state is None or self._seals(tenant, state):
                return None
            await self._turns.work(state.size, _check_size, document, state)
        except (NotComputableError, CallTooLargeError):
            return None
        finally:
            self._recomputed_events += recompute.events
        return state

    def _seals(self, tenant: str, state: CallState) -> bool:
        return state.started_at is not None and self._horizons[tenant].seals(state.started_at)


def _check_size(document: Document, state: CallState) -> None:
    """Raise `CallTooLargeError` where a document is too large with this state."""
    bounded({**document, "state": state.to_document()})
