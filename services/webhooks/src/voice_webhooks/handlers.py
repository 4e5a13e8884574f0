"""The handler of the two webhook endpoints; both take every event type."""

from __future__ import annotations

from aiohttp import hdrs, web

from voice_common.errors import VoiceError
from voice_common.telemetry.tally import TALLY
from voice_common.web.bodies import bounded
from voice_common.web.callers import IDENTITY_VERIFIER, caller_by
from voice_common.web.render import json_response
from voice_webhooks.content_coding import codings_of
from voice_webhooks.reception import InvalidWebhookSignature, Reception, Result
from voice_webhooks.signature import SIGNATURE_HEADER, TIMESTAMP_HEADER
from voice_webhooks.telemetry import result_counter
from voice_webhooks.verifying import Verifying

RECEPTION = web.AppKey("reception", Reception)
VERIFYING = web.AppKey("verifying", Verifying)
LARGEST_BODY = web.AppKey("largest_body", int)
"""Bytes that a webhook may have."""

PATHS = frozenset({"/api/webhooks/telnyx/voice", "/api/webhooks/telnyx/voice/conversational-ai"})


async def receive_webhook(request: web.Request) -> web.Response:
    """Take one signed webhook in and say what became of it."""
    return json_response({"status": await take(request, request.app)})


async def take(request: web.BaseRequest, app: web.Application) -> Result:
    """Take one signed webhook in, from the gateway only; count what became of it.

    Raises the errors of `Reception.receive`, and the area's 401 for who is not the gateway.
    """
    await caller_by(app[VERIFYING].check, request, app[IDENTITY_VERIFIER], "webhooks")
    try:
        body = b"".join([chunk async for chunk in bounded(request, app[LARGEST_BODY])])
        headers = request.headers
        result = await app[RECEPTION].receive(
            body,
            headers.get(SIGNATURE_HEADER),
            headers.get(TIMESTAMP_HEADER),
            codings_of(headers.getall(hdrs.CONTENT_ENCODING, ())),
        )
    except VoiceError as error:
        refused = "invalid_signature" if isinstance(error, InvalidWebhookSignature) else str(error.status)
        TALLY.count(result_counter(refused))
        raise
    TALLY.count(result_counter(result))
    return result
