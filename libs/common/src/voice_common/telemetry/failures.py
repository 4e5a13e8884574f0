"""Errors as they may be logged and stored: what failed and where, and never what it failed on.

An error's own text can hold documents (MongoDB's refusals name the keys and the document), a validator's the input.
Calls are made of people's words and numbers, so none of that text is kept; a traceback's frames and lines of code are.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import MutableMapping
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

from pymongo.errors import BulkWriteError, OperationFailure

_MOST_LINKS = 8
ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None]


def name_of(error: BaseException) -> str:
    """Give an error's class, MongoDB's codes, and the line of code that raised it; no value of anything.

    Errors of our own whose class says ``names_no_value = True`` give their sentence instead of the line.
    """
    kind = type(error)
    said = kind.__name__ + _codes_of(error)
    if getattr(kind, "names_no_value", False):
        return f"{said}: {error}"
    frames = traceback.extract_tb(error.__traceback__)
    return f"{said} at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else said


def write_safely(output: TextIO, info: ExcInfo) -> None:
    """Write a traceback and those of what led to it, each error by its name alone (as structlog's formatters do)."""
    error: BaseException | None = info[1]
    for _ in range(_MOST_LINKS):
        if error is None:
            return
        output.write("".join(traceback.format_tb(error.__traceback__)) + name_of(error))
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
        if error is not None:
            output.write("\nraised after:\n")


def without_reprs(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:  # noqa: ANN401 - structlog's own signature
    """Keep the first line of what asyncio says: those after it are reprs of futures, with their errors and results."""
    record = event.get("_record")
    if isinstance(record, logging.LogRecord) and record.name == "asyncio":
        event["event"] = str(event["event"]).partition("\n")[0]
    return event


def _codes_of(error: BaseException) -> str:
    if isinstance(error, BulkWriteError):
        codes = sorted({int(refused.get("code", 0)) for refused in error.details.get("writeErrors", [])})
        return f" ({', '.join(map(str, codes))})"
    if isinstance(error, OperationFailure):
        name = (error.details or {}).get("codeName")
        return f" ({error.code}{f' {name}' if isinstance(name, str) else ''})"
    return ""
