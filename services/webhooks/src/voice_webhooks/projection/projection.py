"""Stored events into read models, a transaction at a time: what can't be applied is told apart from what can."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Callable, Sequence

import structlog
from pymongo.errors import ConnectionFailure, OperationFailure, PyMongoError

from voice_common.faults import reach
from voice_common.mongo import Database, Session, in_transaction, is_passing
from voice_common.store.events import StoredEvent
from voice_common.telemetry.failures import name_of
from voice_common.times import now_ms
from voice_webhooks.directory import CachedDirectory
from voice_webhooks.projection.apply import Batch
from voice_webhooks.projection.contributions import Contribution, contributions_of
from voice_webhooks.projection.states import NewerVersionError, TooMuchRecomputedError
from voice_webhooks.set_aside import SetAside
from voice_webhooks.telemetry import LEFT_TO_NEWER, PROJECTED, SET_ASIDE

_TRANSACTION_SECONDS = 8.0
_REFUSALS = frozenset({13, 18, 14031})
"""Unauthorized, AuthenticationFailed, OutOfDiskSpace: every event would meet them."""
_OUTLASTED = frozenset({50, 251, 290})
"""MaxTimeMSExpired, NoSuchTransaction, TransactionExceededLifetimeLimitSeconds: the server ended what took too long."""
_log = structlog.get_logger("voice.projection")


class Projection:
    """Turns stored events into read models; safe to repeat, in any order, by any number of processes.

    With `replaces_newer` documents that newer code made are made again by this code, as a rebuild after a rollback
    is told to; else what is of them is left to newer code. `projected` are told of each batch that was applied.
    """

    def __init__(
        self,
        database: Database,
        directory: CachedDirectory,
        *,
        replaces_newer: bool = False,
        projected: Sequence[Callable[[Sequence[StoredEvent]], None]] = (),
    ) -> None:
        self._database = database
        self._directory = directory
        self.replaces_newer = replaces_newer
        self._projected = projected
        self._set_aside = SetAside(database)
        self._name = uuid.uuid4().hex
        self._batches = itertools.count()

    async def project(self, events: Sequence[StoredEvent]) -> None:
        """Apply events in one transaction, or in several where that is too much for one.

        One that can't be applied is set aside with its error, one that is of a call that newer code has made is left
        to newer code; the rest goes on. Raises `PyMongoError` where the store does not take a transaction: then it is
        not known which of the events are applied.
        """
        try:
            await self._apply(await contributions_of(await self._of_living(events)))
        except NewerVersionError as error:
            await self._leave(events, error)
        except Exception as error:
            if len(events) > 1 and outlasts_its_transaction(error):
                await self._halves(events)
            elif _is_passing(error):
                raise
            else:
                await self._apart(events, error)
        else:
            PROJECTED.inc(len(events))
            for tell in self._projected:
                tell(events)

    async def project_again(self, events: Sequence[StoredEvent]) -> None:
        """Apply events that may have been set aside; those that can be applied now are not aside any more."""
        begun = now_ms()
        await self.project(events)
        await self._set_aside.settle(events, before=begun)

    async def _of_living(self, events: Sequence[StoredEvent]) -> list[StoredEvent]:
        """Leave out the events of tenants that were deleted: their data is on its way out."""
        directory = await self._directory.current()
        if any(event.tenant not in directory.tenants for event in events):
            directory = await self._directory.fresh()  # a tenant may be newer than the copy
        return [event for event in events if event.tenant in directory.tenants]

    async def _halves(self, events: Sequence[StoredEvent]) -> None:
        middle = len(events) // 2
        await self.project(events[:middle])
        await self.project(events[middle:])

    async def _leave(self, events: Sequence[StoredEvent], error: NewerVersionError) -> None:
        """Leave the events of newer code's documents to that code; those that only met such a one are halved."""
        left = [event for event in events if (event.tenant, event.stream) in error.streams]
        if not left and len(events) > 1:
            await self._halves(events)
            return
        rest = [event for event in events if (event.tenant, event.stream) not in error.streams] if left else []
        left = left or list(events)
        _log.warning("events left to newer code", events=len(left), version=error.version)
        LEFT_TO_NEWER.inc(len(left))
        await self._set_aside.leave(left, error)
        if rest:
            await self.project(rest)

    async def _apart(self, events: Sequence[StoredEvent], error: Exception) -> None:
        """Find the events that can't be applied by halving the batch, and set them aside."""
        if len(events) > 1:
            await self._halves(events)
            return
        (event,) = events
        _log.error("event set aside", tenant=event.tenant, event_id=event.event, type=event.type, error=name_of(error))
        SET_ASIDE.inc()
        await self._set_aside.keep(event, error)

    async def _apply(self, contributions: Sequence[Contribution]) -> None:
        if not contributions:
            return
        name = f"{self._name}:{next(self._batches)}"

        async def body(session: Session) -> None:
            await Batch(self._database, session, name, replaces_newer=self.replaces_newer).apply(contributions)
            if __debug__:
                reach("projection.written")

        if __debug__:
            reach("projection.begun")
        await in_transaction(self._database.client, body, seconds=_TRANSACTION_SECONDS)
        if __debug__:
            reach("projection.committed")


def outlasts_its_transaction(error: Exception) -> bool:
    """Tell whether a transaction had too much to do; half of it may do, unless the store is not there at all."""
    if isinstance(error, TooMuchRecomputedError):
        return True
    if not isinstance(error, PyMongoError) or isinstance(error, ConnectionFailure):
        return False
    return error.timeout or (isinstance(error, OperationFailure) and error.code in _OUTLASTED)


def _is_passing(error: Exception) -> bool:
    """Tell whether the store, and not an event, is why a transaction failed."""
    return is_passing(error) or (isinstance(error, OperationFailure) and error.code in _REFUSALS)
