"""Errors are named without anything that they failed on."""

from __future__ import annotations

import io
import sys

import pytest
from pymongo import InsertOne
from pymongo.errors import BulkWriteError, DuplicateKeyError, OperationFailure

from voice_common.mongo import Database
from voice_common.telemetry.failures import name_of, write_safely

WORD = "zwiebelfischkutter"


async def test_what_the_store_refuses_is_named_by_class_and_code(database: Database) -> None:
    kept = database["kept"]
    await kept.insert_one({"_id": WORD})
    with pytest.raises(DuplicateKeyError) as twice:
        await kept.insert_one({"_id": WORD})
    with pytest.raises(BulkWriteError) as many:
        await kept.bulk_write([InsertOne({"_id": WORD})])
    with pytest.raises(OperationFailure) as wrong:
        await kept.find_one({"$" + WORD: 1})
    for error, name in ((twice, "DuplicateKeyError (11000"), (many, "BulkWriteError (11000)"), (wrong, "(2 BadValue)")):
        assert WORD in repr(error.value)
        assert name in name_of(error.value)
        assert WORD not in name_of(error.value)


def test_a_traceback_has_the_lines_of_code_and_of_no_error_the_text() -> None:
    said = f"{WORD} {WORD}"
    try:
        try:
            int(said)
        except ValueError as error:
            raise KeyError(said) from error
    except KeyError:
        info = sys.exc_info()
    output = io.StringIO()
    assert info[1] is not None
    write_safely(output, (type(info[1]), info[1], info[2]))
    assert "raise KeyError(said)" in output.getvalue()
    assert "ValueError at test_failures.py" in output.getvalue()
    assert WORD not in output.getvalue()
