"""The range of ``--since`` and ``--until``."""

from __future__ import annotations

from voice_common.cli import WrongUsageError
from voice_common.errors import BadRequest
from voice_common.times import TimeRange, parse_range


def period_of(since: str | None, until: str | None) -> TimeRange:
    """Read a range as the API reads its own, and say what is wrong in the options' names; raise `WrongUsageError`."""
    try:
        return parse_range(since, until)
    except BadRequest as error:
        raise WrongUsageError(error.message.replace("start_date", "--since").replace("end_date", "--until")) from None
