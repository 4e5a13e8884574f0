"""The query parameters of the routes."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Annotated

from pydantic import BeforeValidator, Field, model_validator

from voice_common.errors import BadRequest
from voice_common.times import TimeRange, parse_range
from voice_common.web.query import QueryModel
from voice_recordings.position import Position

VOICE = "voice"
_DIGITS = re.compile(r"\d{1,9}", re.ASCII)


class Status(StrEnum):
    """The status of a conversation, as callers see it."""

    ACTIVE = "active"
    COMPLETED = "completed"
    FAILED = "failed"


def _between(name: str, low: int, high: int) -> BeforeValidator:
    def read(text: object) -> int:
        if not isinstance(text, str) or not _DIGITS.fullmatch(text) or not low <= int(text) <= high:
            raise BadRequest(f"{name} must be a whole number from {low} to {high}")
        return int(text)

    return BeforeValidator(read)


def _status(text: object) -> Status:
    try:
        return Status(str(text))
    except ValueError:
        raise BadRequest("status must be active, completed or failed") from None


class NoQuery(QueryModel):
    """No parameter at all."""


class ListQuery(QueryModel):
    """Which conversations are listed, and which page of them; raises `BadRequest` with a sentence that names what."""

    channel: str = Field(VOICE, min_length=1)
    status: Annotated[Status | None, BeforeValidator(_status)] = None
    start_date: str | None = None
    end_date: str | None = None
    limit: Annotated[int, _between("limit", 1, 200)] = 50
    offset: Annotated[int, _between("offset", 0, 10_000)] = 0
    cursor: str | None = None

    @model_validator(mode="after")
    def _is_one_page(self) -> ListQuery:
        if self.cursor is not None and "offset" in self.model_fields_set:
            raise BadRequest("cursor and offset can't be given together")
        return self

    def period(self) -> TimeRange:
        """Give the range in milliseconds; raise `BadRequest` where it is none."""
        return parse_range(self.start_date, self.end_date)

    def after(self) -> Position | None:
        """Give the position that the page begins after; raise `BadRequest` where the cursor is none."""
        return None if self.cursor is None else Position.from_cursor(self.cursor)
