"""Answers about a tenant's calls: exact at the moment of one snapshot."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Mapping

import pymongo
from pymongo.errors import OperationFailure

from voice_analytics.cover import (
    Span,
    cut_hours,
    cuts_an_hour,
    day_of,
    days_by_hour,
    live_spans,
    rest_of_hour,
    whole_hours,
)
from voice_analytics.marks import dirty_hours
from voice_analytics.rollups import hours_of, is_current, read_rollups, total_of
from voice_analytics.scan import scan_hours
from voice_analytics.sums import Sums, add_up, take_off
from voice_common.errors import BadRequest, Unavailable
from voice_common.mongo import Database, Document, Session
from voice_common.store.horizons import horizons_of
from voice_common.times import DAY_MS, HOUR_MS, TimeRange, render_ms

_END_OF_TIME = 253_402_300_800_000  # the year 10000: no call starts later
_SNAPSHOT_UNAVAILABLE = 246


class CallSums:
    """Sums of a tenant's calls: rollups where they are true, the calls themselves elsewhere.

    `store_seconds` bounds the wait for marks and rollups, and `scan_seconds` that for the calls.
    """

    def __init__(self, database: Database, *, store_seconds: float, scan_seconds: float) -> None:
        self._database = database
        self._store_seconds = store_seconds
        self._scan_seconds = scan_seconds

    async def total(self, tenant: str, period: TimeRange) -> Sums:
        """Sum all calls that started in `period`."""
        return add_up([Sums(), *(sums for _, sums in await self._parts(tenant, period, hourly=False))])

    async def buckets(self, tenant: str, period: TimeRange, width: int) -> dict[int, Sums]:
        """Sum by bucket of `width` milliseconds (an hour or a day), by the bucket's start; only those with calls."""
        parts = await self._parts(tenant, period, hourly=width < DAY_MS)
        if width == HOUR_MS:
            return dict(parts)
        buckets: dict[int, list[Sums]] = {}
        for start, sums in parts:
            buckets.setdefault(start - start % width, []).append(sums)
        return {start: add_up(sums) for start, sums in buckets.items()}

    async def _parts(self, tenant: str, period: TimeRange, *, hourly: bool) -> list[tuple[int, Sums]]:
        span = Span(period.start or 0, _END_OF_TIME if period.end is None else period.end)
        if span.start >= span.end:
            return []
        deadline = time.monotonic() + self._store_seconds
        while True:
            try:
                async with self._database.client.start_session(snapshot=True) as session:
                    return await self._read(session, tenant, span, hourly=hourly)
            except OperationFailure as error:
                # A collection or an index was made or dropped after the snapshot: the next one will do.
                if error.code != _SNAPSHOT_UNAVAILABLE:
                    raise
                if time.monotonic() > deadline:
                    raise Unavailable from error
                await asyncio.sleep(0.01)

    async def _read(self, session: Session, tenant: str, period: Span, *, hourly: bool) -> list[tuple[int, Sums]]:
        """Give disjoint sums by the start of the hour, or of the day where it is whole, clean and not `hourly`."""
        hour_of_start = period.start - period.start % HOUR_MS
        with pymongo.timeout(self._store_seconds):
            sealed_before = (await horizons_of(self._database, [tenant], session=session))[tenant].sealed_before
            if cuts_an_hour(period, sealed_before):
                raise BadRequest(
                    f"start_date and end_date must be full hours before {render_ms(sealed_before)}: "
                    "of older calls only the figures by the hour are kept"
                )
            live = Span(max(hour_of_start, sealed_before), max(period.end, sealed_before))
            dirty = await dirty_hours(self._database, session, tenant, live)
            by_hour = days_by_hour(period, dirty)
            rollups = await read_rollups(self._database, session, tenant, period, by_hour=None if hourly else by_hour)
        known: dict[int, Sums] = {}
        if rollups.built:
            stale = {day for day, document in rollups.days.items() if not is_current(document)}
            known = _known_hours(period, rollups.days, dirty, stale)
            spans = live_spans(period, dirty, stale, known=known)
            spans += [span for hour, sums in known.items() if sums.calls for span in rest_of_hour(period, hour)]
        else:
            stale = {day for day in rollups.days if day >= sealed_before}
            unsealed = Span(max(period.start, sealed_before), period.end)
            spans = [unsealed] if unsealed.start < unsealed.end else []
        parts: list[tuple[int, Sums]] = []
        whole = whole_hours(period)
        for day, document in rollups.days.items():
            if day in stale:
                continue
            if hourly or day in by_hour:
                parts += [
                    (hour, sums)
                    for hour, sums in hours_of(document).items()
                    if whole.start <= hour < whole.end and hour not in dirty
                ]
            else:
                parts.append((day, total_of(document)))
        scanned: dict[int, Sums] = {}
        if spans:
            with pymongo.timeout(self._scan_seconds):
                scanned = await scan_hours(self._database, session, tenant, spans)
        for hour, sums in known.items():
            scanned[hour] = take_off(sums, scanned.get(hour, Sums()))
        return parts + [(hour, sums) for hour, sums in scanned.items() if sums.calls]


def _known_hours(
    period: Span, days: Mapping[int, Document], dirty: Collection[int], stale: Collection[int]
) -> dict[int, Sums]:
    """Give the sums of the whole of those cut hours of which less is to be taken off than would be to be summed."""
    known: dict[int, Sums] = {}
    for hour in cut_hours(period):
        day = day_of(hour)
        if hour in dirty or day in stale:
            continue
        sums = hours_of(days[day]).get(hour, Sums()) if day in days else Sums()
        left_out = sum(span.end - span.start for span in rest_of_hour(period, hour))
        if not sums.calls or left_out < HOUR_MS / 2:
            known[hour] = sums
    return known
