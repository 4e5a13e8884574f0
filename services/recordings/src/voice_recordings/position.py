"""A place in the list of conversations: the last one of a page, from which the next page goes on.

A page that begins after a conversation, not after a count of them, neither repeats nor skips one when calls arrive.
"""

from __future__ import annotations

import base64
import binascii
from typing import NamedTuple

from voice_common.errors import BadRequest
from voice_common.ids import is_conversation_id

_END_OF_TIME = 253_402_300_800_000  # the year 10000 in milliseconds; what lies beyond is no call's start


class Position(NamedTuple):
    """A conversation's place in the order of the list: newest first, ties by id."""

    started_at: int
    session: str

    def to_cursor(self) -> str:
        """Give the position as an opaque text of URL-safe characters."""
        return base64.urlsafe_b64encode(f"{self.started_at}.{self.session}".encode()).rstrip(b"=").decode()

    @classmethod
    def from_cursor(cls, cursor: str) -> Position:
        """Read what `to_cursor` gave; raise `BadRequest` for anything else."""
        try:
            raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
            started_at, _, session = raw.decode("ascii").partition(".")
            position = cls(int(started_at), session)
        except (ValueError, binascii.Error):
            position = None
        if (
            position is None
            or not 0 <= position.started_at < _END_OF_TIME
            or not is_conversation_id(position.session)
            or position.to_cursor() != cursor
        ):
            raise BadRequest("cursor must be the next_cursor of an earlier answer")
        return position
