"""Ranges as callers write them, times as providers send them, and how both are rendered."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voice_common.errors import BadRequest
from voice_common.times import DAY_MS, TimeRange, parse_range, read_event_time, render_ms, render_optional_ms, to_ms

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def ms(text: str) -> int:
    return (datetime.fromisoformat(text) - EPOCH) // timedelta(milliseconds=1)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2025-01-15", "2025-01-15T00:00:00+00:00"),
        ("2024-02-29", "2024-02-29T00:00:00+00:00"),
        ("1970-01-01", "1970-01-01T00:00:00+00:00"),
        ("9998-12-31", "9998-12-31T00:00:00+00:00"),
        ("2025-01-15T10:00:00Z", "2025-01-15T10:00:00+00:00"),
        ("2025-01-15t10:00:00z", "2025-01-15T10:00:00+00:00"),
        ("2025-01-15T10:00:00", "2025-01-15T10:00:00+00:00"),
        ("2025-01-15T10:00", "2025-01-15T10:00:00+00:00"),
        ("2025-01-15T10:00Z", "2025-01-15T10:00:00+00:00"),
        ("2025-01-15T10:00+02:00", "2025-01-15T08:00:00+00:00"),
        ("2025-01-15T10:00:00+05:30", "2025-01-15T04:30:00+00:00"),
        ("2025-01-15T10:00:00 05:30", "2025-01-15T04:30:00+00:00"),
        ("2025-01-15T10:00:00-08:00", "2025-01-15T18:00:00+00:00"),
        ("2025-01-15T10:00:00-00:00", "2025-01-15T10:00:00+00:00"),
        ("2025-01-15T10:00:00.1Z", "2025-01-15T10:00:00.100+00:00"),
        ("2025-01-15T10:00:00.123Z", "2025-01-15T10:00:00.123+00:00"),
        ("2025-01-15T10:00:00.1239999999Z", "2025-01-15T10:00:00.123+00:00"),
        ("2016-12-31T23:59:60Z", "2016-12-31T23:59:59.999+00:00"),
        ("2016-12-31T23:59:60.5Z", "2016-12-31T23:59:59.999+00:00"),
        ("1970-01-01T00:00:00+00:01", "1969-12-31T23:59:00+00:00"),
    ],
)
def test_a_bound_is_read_as_its_instant(text: str, expected: str) -> None:
    assert parse_range(text, None) == TimeRange(ms(expected), None)


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "yesterday", "2025", "2025-01", "2025-1-15", "20250115", "2025-01-15 ", " 2025-01-15", "2025-01-15\n",
        "2025-02-29", "2025-13-01", "2025-00-10", "2025-01-32", "2025-04-31", "1969-12-31", "9999-01-01", "0000-01-01",
        "12025-01-15", "+2025-01-15", "2025-W03-3", "2025-015", "1736935200", "1736935200000",
        "2025-01-15T", "2025-01-15T10", "2025-01-15T10:0", "2025-01-15T24:00:00Z", "2025-01-15T10:60:00Z",
        "2025-01-15T10:00:61Z", "2025-01-15T10:00:00.Z", "2025-01-15T10:00:00,5Z", "2025-01-15 10:00:00Z",
        "2025-01-15T10:00:00+0200", "2025-01-15T10:00:00+02", "2025-01-15T10:00:00+24:00", "2025-01-15T10:00:00+02:60",
        "2025-01-15T10:00:00ZZ", "2025-01-15T10:00:00 UTC", "2025-01-15T10:00:00+02:00:00",
        "2025-01-15T10:00:00\u221202:00", "\u0662\u0660\u0662\u0665-\u0660\u0661-\u0661\u0665",
        "2025\u201001\u201015", '{"$gt": ""}', "1969-12-31T23:59:59Z", "9999-01-01T00:00:00Z",
    ],
)  # fmt: skip
@pytest.mark.parametrize("name", ["start_date", "end_date"])
def test_what_is_no_time_is_refused_with_the_parameters_name(name: str, text: str) -> None:
    with pytest.raises(BadRequest) as refused:
        parse_range(**{"start_date": None, "end_date": None, name: text})
    assert refused.value.message.startswith(f"{name} must be a date")


def test_no_bounds_are_an_open_range() -> None:
    assert parse_range(None, None) == TimeRange(None, None)


def test_an_end_date_includes_its_whole_day_and_a_date_time_ends_at_its_instant() -> None:
    day = parse_range("2025-01-31", "2025-01-31")
    assert day == TimeRange(ms("2025-01-31T00:00:00+00:00"), ms("2025-02-01T00:00:00+00:00"))
    instants = parse_range("2025-01-31T00:00:00Z", "2025-01-31T12:00:00Z")
    assert instants == TimeRange(ms("2025-01-31T00:00:00+00:00"), ms("2025-01-31T12:00:00+00:00"))
    assert parse_range(None, "9998-12-31").end == ms("9998-12-31T00:00:00+00:00") + DAY_MS


@pytest.mark.parametrize(
    ("start", "end"),
    [
        ("2025-01-15", "2025-01-15"),
        ("2025-01-15", "2025-01-15T00:00:00Z"),
        ("2025-01-15T10:00:00Z", "2025-01-15T10:00:00Z"),
        ("2025-01-15T23:59:59.999Z", "2025-01-15"),
    ],
)
def test_a_start_that_is_not_after_the_end_is_good(start: str, end: str) -> None:
    parse_range(start, end)


@pytest.mark.parametrize(
    ("start", "end"),
    [
        ("2025-01-16", "2025-01-15"),
        ("2025-01-16T00:00:00Z", "2025-01-15"),
        ("2025-01-15", "2025-01-14T23:59:59.999Z"),
        ("2025-01-15T10:00:00.001Z", "2025-01-15T10:00:00Z"),
        ("2025-01-15T10:00:00-01:00", "2025-01-15T10:00:00Z"),
    ],
)
def test_a_start_after_the_end_is_refused(start: str, end: str) -> None:
    with pytest.raises(BadRequest, match="start_date must not be after end_date"):
        parse_range(start, end)


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        (0, "1970-01-01T00:00:00Z"),
        (1, "1970-01-01T00:00:00.001Z"),
        (1_736_935_200_000, "2025-01-15T10:00:00Z"),
        (1_736_935_200_120, "2025-01-15T10:00:00.120Z"),
        (253_370_764_799_999, "9998-12-31T23:59:59.999Z"),
    ],
)
def test_milliseconds_are_rendered_only_when_not_zero(moment: int, text: str) -> None:
    assert render_ms(moment) == text
    assert render_optional_ms(moment) == text


def test_no_time_is_rendered_as_none() -> None:
    assert render_optional_ms(None) is None


@given(st.integers(0, 253_370_764_799_999))
def test_what_is_rendered_is_read_back(moment: int) -> None:
    assert parse_range(render_ms(moment), None).start == moment
    assert read_event_time(render_ms(moment)) == moment


@given(st.datetimes(datetime(1970, 1, 1), datetime(9998, 12, 31), timezones=st.just(UTC)))  # noqa: DTZ001 - bounds are naive
def test_a_time_is_cut_to_the_millisecond_never_rounded(moment: datetime) -> None:
    assert EPOCH + timedelta(milliseconds=to_ms(moment)) == moment.replace(
        microsecond=moment.microsecond // 1000 * 1000
    )


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2025-01-15T10:00:00.123456Z", "2025-01-15T10:00:00.123+00:00"),
        ("2025-01-15T10:00:00.123456789+02:00", "2025-01-15T08:00:00.123+00:00"),
        ("2025-01-15T10:00:00", "2025-01-15T10:00:00+00:00"),
        (" 2025-01-15 10:00:00Z ", "2025-01-15T10:00:00+00:00"),
        ("2025-01-15t10:00:00z", "2025-01-15T10:00:00+00:00"),
        ("2025-01-15T10:00:60Z", "2025-01-15T10:00:59.999+00:00"),
        ("2025-01-15", "2025-01-15T00:00:00+00:00"),
    ],
)
def test_a_providers_time_is_read_leniently(value: str, expected: str) -> None:
    assert read_event_time(value) == ms(expected)


@pytest.mark.parametrize(
    "value",
    [None, 5, 1.5, True, "", "soon", "1969-12-31T23:59:59Z", "0001-01-01T00:00:00Z", "9999-01-01T00:00:00Z", "2" * 65,
     ["2025-01-15"], {"at": 1}, "1970-01-01T00:00:00+00:01", "20250115", "2025-W03-3", "20250115T100000Z",
     "2025-01-15T10:00:61Z"],
)  # fmt: skip
def test_what_is_no_providers_time_is_none(value: object) -> None:
    assert read_event_time(value) is None
