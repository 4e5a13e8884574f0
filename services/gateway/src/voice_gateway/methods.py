"""Requests by a method that the parser has never heard of: it refuses them before it has read what they are for."""

from __future__ import annotations

import re
from collections.abc import Callable

from aiohttp.http import RawRequestMessage
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.http_parser import HttpRequestParser

_HEAD = re.compile(rb"(?:\r\n)*([A-Z][A-Z-]{0,31})( [!-~]+ HTTP/1\.[01]\r\n.*?\r\n\r\n)", re.DOTALL)
_KNOWN = b"REPORT"
"""A method that the parser knows, and no route has."""


def with_unknown_method(data: bytes, make_parser: Callable[[], HttpRequestParser]) -> RawRequestMessage | None:
    """Give the head that `data` begins with, although its method is unknown; ``None`` where it is no whole one.

    It is the last one of its connection: nobody knows whether it has a body.
    """
    matched = _HEAD.match(data)
    if matched is None:
        return None
    try:
        messages, _, _ = make_parser().feed_data(_KNOWN + matched[2])
    except HttpProcessingError:
        return None
    return messages[0][0]._replace(method=matched[1].decode(), should_close=True) if messages else None
