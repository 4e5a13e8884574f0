"""Times: whole milliseconds since the epoch inside, RFC 3339 UTC with ``Z`` outside."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from voice_common.errors import BadRequest

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_FIRST_YEAR, _LAST_YEAR = 1970, 9998
_LONGEST = 64  # characters; no time is longer, and a hostile one is refused before it is read
_DATE = re.compile(r"(\d{4})-(\d{2})-(\d{2})", re.ASCII)
_DATE_TIME = re.compile(
    r"(\d{4})-(\d{2})-(\d{2})[Tt](\d{2}):(\d{2})(?::(\d{2})(?:\.(\d+))?)?([Zz]|[+\- ]\d{2}:\d{2})?",
    re.ASCII,
)
# What nearly every event has; the interpreter's own reader does these, and only these, ten times as fast.
_PLAIN = re.compile(
    r"\d{4}-\d\d-\d\dT(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:\.\d+)?(?:Z|[+-](?:[01]\d|2[0-3]):[0-5]\d)", re.ASCII
)


def now_ms() -> int:
    """Give this machine's clock in milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


def to_ms(moment: datetime) -> int:
    """Cut an aware date-time to whole milliseconds since the epoch."""
    return (moment - _EPOCH) // _MILLISECOND


def render_ms(ms: int) -> str:
    """Render milliseconds since the epoch: ``2025-01-15T10:00:00Z``, with milliseconds only when not zero."""
    seconds, millis = divmod(ms, 1000)
    text = (_EPOCH + timedelta(seconds=seconds)).isoformat()[:19]
    return f"{text}.{millis:03d}Z" if millis else f"{text}Z"


def render_optional_ms(ms: int | None) -> str | None:
    """Render as `render_ms` does; ``None`` stays ``None``."""
    return None if ms is None else render_ms(ms)


def read_event_time(value: object) -> int | None:
    """Read a time as providers send it: as bounds are read, and also with a space for the ``T`` or around it.

    Gives milliseconds (UTC where no offset is given; a date is its midnight), or ``None`` for what is no time or
    lies outside the years 1970 to 9998.
    """
    if not isinstance(value, str) or len(value) > _LONGEST:
        return None
    text = value.strip()
    if text[10:11] == " ":
        text = f"{text[:10]}T{text[11:]}"
    try:
        ms = _read(text)[0]
    except ValueError:
        return None
    return ms if ms >= 0 else None


@dataclass(frozen=True, slots=True)
class TimeRange:
    """A half-open range ``[start, end)`` in milliseconds; ``None`` is open on that side."""

    start: int | None
    end: int | None


def parse_range(start_date: str | None, end_date: str | None) -> TimeRange:
    """Read the two query parameters of a range.

    A date means that whole UTC day; a date-time means that instant, and the range is half-open.
    Raises `BadRequest` where one can't be read or the start lies after the end.
    """
    start = None if start_date is None else _parse_bound("start_date", start_date)[0]
    if end_date is None:
        return TimeRange(start, None)
    end, is_day = _parse_bound("end_date", end_date)
    if is_day:
        end += DAY_MS
    if start is not None and (start >= end if is_day else start > end):
        raise BadRequest("start_date must not be after end_date")
    return TimeRange(start, end)


def _parse_bound(name: str, text: str) -> tuple[int, bool]:
    """Give the instant of one bound in milliseconds, and whether it was a whole day."""
    try:
        return _read(text)
    except ValueError:
        raise BadRequest(
            f"{name} must be a date (YYYY-MM-DD) or an RFC 3339 date-time of the years 1970 to 9998"
        ) from None


def _read(text: str) -> tuple[int, bool]:
    """Read a time of RFC 3339: milliseconds, and whether it is a whole day; raises `ValueError` for all else."""
    if _PLAIN.fullmatch(text):
        moment = datetime.fromisoformat(text)
        _check_year(moment.year)
        return to_ms(moment), False
    if matched := _DATE_TIME.fullmatch(text):
        return _instant(*matched.groups()), False
    if matched := _DATE.fullmatch(text):
        year, month, day = (int(part) for part in matched.groups())
        _check_year(year)
        return to_ms(datetime.combine(date(year, month, day), datetime.min.time(), UTC)), True
    message = "neither a date nor a date-time"
    raise ValueError(message)


def _check_year(year: int) -> None:
    if not _FIRST_YEAR <= year <= _LAST_YEAR:
        message = "year out of range"
        raise ValueError(message)


def _instant(  # noqa: PLR0913, PLR0917 - the groups of one pattern
    year: str,
    month: str,
    day: str,
    hour: str,
    minute: str,
    second: str | None,
    fraction: str | None,
    offset: str | None,
) -> int:
    _check_year(int(year))
    seconds = int(second or 0)
    leap = seconds == 60  # noqa: PLR2004 - RFC 3339 §5.7 allows a leap second; it is the last millisecond of its minute
    moment = datetime(int(year), int(month), int(day), int(hour), int(minute), 59 if leap else seconds, tzinfo=UTC)
    ms = to_ms(moment) + (999 if leap else int(((fraction or "") + "000")[:3]))
    if offset is None or offset in "Zz":
        return ms
    hours, minutes = int(offset[1:3]), int(offset[4:6])
    if hours > 23 or minutes > 59:  # noqa: PLR2004 - RFC 3339 §5.6 time-numoffset
        message = "offset out of range"
        raise ValueError(message)
    shift = hours * HOUR_MS + minutes * MINUTE_MS
    return ms + shift if offset[0] == "-" else ms - shift
