"""Request bodies, bounded as they arrive."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping

from aiohttp import web

from voice_common.errors import BadRequest, ContentTooLarge

_CLOSE: Mapping[str, str] = {"Connection": "close"}
"""What is left of a body that was refused is not read: what follows it on its connection is no request."""


async def bounded(request: web.BaseRequest, largest: int) -> AsyncIterator[bytes]:
    """Give a body as it was sent and as it comes, chunk by chunk.

    Raises `ContentTooLarge` as soon as more than `largest` bytes are announced or there, and `BadRequest` where the
    body is no body or breaks off.
    """
    if request.content_length is not None and request.content_length > largest:
        raise ContentTooLarge(headers=_CLOSE)
    size = 0
    try:
        async for chunk in request.content.iter_any():
            size += len(chunk)
            if size > largest:
                raise ContentTooLarge(headers=_CLOSE)
            yield chunk
    except web.RequestPayloadError as error:
        raise BadRequest("Malformed request body", headers=_CLOSE) from error
