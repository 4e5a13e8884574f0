"""The files of an export: ``-`` for standard input and output, compressed where the name ends in ``.gz``."""

from __future__ import annotations

import gzip
import os
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from voice_webhooks.archive.lines import LONGEST_LINE

STANDARD = "-"


class DamagedFileError(Exception):
    """A compressed file can't be read to its end; the text says after which line."""


@contextmanager
def written(name: str) -> Iterator[BinaryIO]:
    """Write a file that is there whole or not at all, for its owner's eyes only; raises `OSError`."""
    if name == STANDARD:
        yield sys.stdout.buffer
        sys.stdout.flush()
        return
    file = Path(name)
    draft = file.with_name(f".{file.name}.{os.getpid()}")
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as raw:  # noqa: PTH123 - takes a descriptor
        try:
            if file.suffix == ".gz":
                with gzip.GzipFile(filename="", fileobj=raw, mode="wb", compresslevel=6) as packed:
                    yield cast("BinaryIO", packed)
            else:
                yield raw
            raw.flush()
            os.fsync(raw.fileno())
        except BaseException:
            draft.unlink(missing_ok=True)
            raise
    draft.replace(file)


@contextmanager
def read(name: str) -> Iterator[tuple[Iterator[tuple[int, bytes]], int | None, Callable[[], int]]]:
    """Read a file's lines with their numbers; give its size in bytes, where known, and how far it is read too.

    Raises `OSError`; the lines raise `DamagedFileError`. A line of more than `LONGEST_LINE` bytes is cut behind them.
    """
    if name == STANDARD:
        counted = _Counted()
        yield _lines(sys.stdin.buffer, counted), None, lambda: counted.bytes
        return
    with Path(name).open("rb") as raw:
        size = os.fstat(raw.fileno()).st_size
        if name.endswith(".gz"):
            with gzip.GzipFile(fileobj=raw) as unpacked:
                yield _lines(cast("BinaryIO", unpacked), _Counted()), size, raw.tell
        else:
            yield _lines(raw, _Counted()), size, raw.tell


class _Counted:
    def __init__(self) -> None:
        self.bytes = 0


def _lines(source: BinaryIO, counted: _Counted) -> Iterator[tuple[int, bytes]]:
    number = 0
    while True:
        try:
            line = source.readline(LONGEST_LINE + 1)
            rest = line
            while len(rest) > LONGEST_LINE and not rest.endswith(b"\n"):
                rest = source.readline(LONGEST_LINE + 1)
                counted.bytes += len(rest)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise DamagedFileError(f"it is damaged or cut off after line {number}") from error
        if not line:
            return
        number += 1
        counted.bytes += len(line)
        yield number, line
