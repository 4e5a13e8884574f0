"""What goes in and out in more than one service, as types that both the code and the description of the API go by."""

from __future__ import annotations

from typing import Annotated

from pydantic import ConfigDict, Field, WithJsonSchema, with_config
from typing_extensions import TypedDict

closed = with_config(ConfigDict(extra="forbid"))
"""Makes a shape one with exactly its keys."""

open_ended = with_config(ConfigDict(extra="allow"))
"""Makes a shape one that may have more keys."""

_YEAR = "(19[7-9][0-9]|[2-8][0-9]{3}|9[0-8][0-9]{2}|99[0-8][0-9]|999[0-8])"
_DAY = (
    "((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)|02-(0[1-9]|1[0-9]|2[0-9]))"
    # the 29th of February is in a pattern of every year; the sentence beside it says that a date must exist
)
_CLOCK = r"([01][0-9]|2[0-3]):[0-5][0-9]"

Bound = Annotated[
    str,
    WithJsonSchema(
        {
            "type": "string",
            "pattern": rf"^{_YEAR}-{_DAY}([Tt]{_CLOCK}(:([0-5][0-9]|60)(\.[0-9]+)?)?([Zz]|[+\- ]{_CLOCK})?)?$",
        }
    ),
]
"""One end of a range in a query: a date, or a date-time whose seconds and offset may be missing (contract §3)."""

Timestamp = Annotated[
    str,
    WithJsonSchema(
        {
            "type": "string",
            "format": "date-time",
            "pattern": r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{3})?Z$",
        }
    ),
]
"""A time in an answer: RFC 3339 UTC, milliseconds only when they are not zero."""

START = Field(
    description="First moment of the range: `YYYY-MM-DD` (that whole UTC day), or an RFC 3339 date-time whose seconds "
    "and offset may be missing (UTC then). The years 1970 to 9998; not after `end_date`.",
    examples=["2025-01-01", "2025-01-01T08:30:00Z"],
)
END = Field(
    description="End of the range: a date includes the whole of that UTC day, a date-time is the first moment that is "
    "not in it. A call belongs to the moment it started.",
    examples=["2025-01-31", "2025-02-01T00:00:00+01:00"],
)


@closed
class Error(TypedDict):
    """Every error but a recording's 404 has this body."""

    error: Annotated[str, Field(min_length=1, description="One sentence that says what is wrong.")]
