"""The query parameters of the routes."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Annotated

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from voice_common.errors import BadRequest
from voice_common.times import TimeRange, parse_range
from voice_common.web.query import QueryModel
from voice_common.web.shapes import END, START, Bound
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


def _channel(text: object) -> object:
    if not text:
        raise BadRequest("channel must not be empty")
    return text


class ListQuery(QueryModel):
    """Which conversations are listed, and which page of them; raises `BadRequest` with a sentence that names what."""

    channel: Annotated[str, BeforeValidator(_channel)] = Field(
        VOICE,
        min_length=1,
        description="Only conversations of this channel: `voice`. Another channel is a valid value with no results.",
        examples=[VOICE],
    )
    status: Annotated[Status | None, BeforeValidator(_status)] = Field(
        None, description="Only conversations of this status.", examples=[Status.COMPLETED]
    )
    start_date: Annotated[Bound | None, START] = None
    end_date: Annotated[Bound | None, END] = None
    limit: Annotated[int, _between("limit", 1, 200)] = Field(
        50, ge=1, le=200, description="How many conversations a page has at most.", examples=[20]
    )
    offset: Annotated[int, _between("offset", 0, 10_000)] = Field(
        0,
        ge=0,
        le=10_000,
        description="How many conversations to leave out at the beginning; to read on beyond, use `cursor`.",
    )
    cursor: Annotated[str, WithJsonSchema({"type": "string", "pattern": "^[A-Za-z0-9_-]+$"})] | None = Field(
        None,
        description="The `next_cursor` of an earlier answer: the page after it. Not together with `offset`.",
    )

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
