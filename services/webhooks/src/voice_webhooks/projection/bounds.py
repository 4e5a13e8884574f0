"""What bounds one call: how large its document may become, and what of it is too much for the event loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any, ParamSpec, TypeVar

import bson
from bson.codec_options import CodecOptions
from bson.raw_bson import RawBSONDocument

from voice_common.large import apart
from voice_common.store.state import CallState

LARGEST_CALL = 4 * 1024 * 1024
"""Bytes of BSON: an hour of talk comes to some hundred thousand. It is read and written whole, so it has a bound."""
LARGEST_DOCUMENT = 16 * 1024 * 1024
"""Bytes that MongoDB takes: the bound of documents that are written again and made no larger by it."""

AS_BYTES = CodecOptions(document_class=RawBSONDocument)
"""How documents are fetched that may be large: a page of them is then split, and `Turns.read` reads each."""

_FEW = 100
_LINE_BYTES = 100
_LONGEST_TURN_SECONDS = 0.005
P = ParamSpec("P")
T = TypeVar("T")


class CallTooLargeError(Exception):
    """A call, or a parked stream, would hold more than `LARGEST_CALL`; the event that would add it is set aside."""

    names_no_value = True


def bounded(document: Mapping[str, Any], at_most: int | None = None) -> RawBSONDocument:
    """Give a document as it goes to the store.

    Raises `CallTooLargeError` where it has more than `at_most` bytes (`LARGEST_CALL` where nothing is said).
    """
    at_most = LARGEST_CALL if at_most is None else at_most
    encoded = bson.encode(document)
    if len(encoded) > at_most:
        message = f"{document['_id']} would have {len(encoded)} bytes; a call may have {at_most}"
        raise CallTooLargeError(message)
    return RawBSONDocument(encoded)


class Turns:
    """Keeps a long piece of work from keeping requests waiting."""

    def __init__(self) -> None:
        self._since = time.perf_counter()

    async def end(self) -> None:
        """Let requests in, once this turn took long enough."""
        if time.perf_counter() - self._since > _LONGEST_TURN_SECONDS:
            await asyncio.sleep(0)
            self._since = time.perf_counter()

    async def read(self, document: RawBSONDocument) -> dict[str, Any]:
        """Give a document that was fetched as bytes."""
        return await self.work(len(document.raw) // _LINE_BYTES, bson.decode, document.raw)

    async def join(self, known: CallState | None, state: CallState) -> CallState:
        """Join what is known of a call with more."""
        if known is None:
            return state
        if len(state.tools) <= _FEW:  # what a join costs, it costs for tool calls that both know
            await self.end()
            return known.join(state)
        return await self.work(min(known.size, state.size), known.join, state)

    async def work(self, size: int, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Give what `function` gives; what is of many tool calls and lines is done in a thread."""
        await self.end()
        return await apart(size, function, *args, **kwargs)
