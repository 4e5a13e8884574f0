"""The two webhook endpoints; both take every event type."""

from __future__ import annotations

from aiohttp import web

from voice_common.errors import ContentTooLarge, VoiceError
from voice_common.web.callers import caller
from voice_common.web.render import json_response
from voice_webhooks.reception import InvalidWebhookSignature, Reception
from voice_webhooks.signature import SIGNATURE_HEADER, TIMESTAMP_HEADER
from voice_webhooks.telemetry import result_counter

RECEPTION = web.AppKey("reception", Reception)
MAX_BODY = 1024 * 1024


async def receive_webhook(request: web.Request) -> web.Response:
    """Take one signed webhook in and say what became of it."""
    caller(request, "webhooks")
    try:
        body = await read_body(request)
        result = await request.app[RECEPTION].receive(
            body, request.headers.get(SIGNATURE_HEADER), request.headers.get(TIMESTAMP_HEADER)
        )
    except VoiceError as error:
        result_counter("invalid_signature" if isinstance(error, InvalidWebhookSignature) else str(error.status)).inc()
        raise
    result_counter(result).inc()
    return json_response({"status": result})


async def read_body(request: web.Request) -> bytes:
    """Read a body of at most `MAX_BODY` bytes, counted as they arrive; raise `ContentTooLarge`."""
    if (request.content_length or 0) > MAX_BODY:
        raise ContentTooLarge
    body = bytearray()
    async for chunk in request.content.iter_any():
        body += chunk
        if len(body) > MAX_BODY:
            raise ContentTooLarge
    return bytes(body)


def routes() -> list[web.RouteDef]:
    """Give the service's routes."""
    return [
        web.post("/api/webhooks/telnyx/voice", receive_webhook),
        web.post("/api/webhooks/telnyx/voice/conversational-ai", receive_webhook),
    ]
