"""Answers as JSON: bodies, and errors as ``{"error": "<one sentence>"}``."""

from __future__ import annotations

from collections.abc import Mapping

import orjson
import structlog
from aiohttp import web
from aiohttp.typedefs import Handler

from voice_common.errors import VoiceError
from voice_common.mongo import is_passing

_log = structlog.get_logger("voice.errors")
_SENTENCES = {
    404: "Not found",
    405: "Method not allowed",
    413: "Request body is too large",
    417: "Expectation can't be met",
}


def json_response(body: object, *, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """Render `body` as JSON, UTF-8."""
    return web.Response(
        body=orjson.dumps(body), status=status, headers=headers, content_type="application/json", charset="utf-8"
    )


def error_response(status: int, message: str, headers: Mapping[str, str] | None = None) -> web.Response:
    """Render one error of the contract."""
    return json_response({"error": message}, status=status, headers=headers)


@web.middleware
async def render_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn what a handler raises into an answer of the contract; unknown exceptions show no detail."""
    try:
        return await handler(request)
    except Exception as error:  # noqa: BLE001 - the last place that sees it; the detail goes to the log
        return answer_to(error)


def answer_to(error: Exception) -> web.Response:
    """Give the answer of the contract to what a handler raised; raise again what only a connection can bear."""
    if isinstance(error, VoiceError):
        return error_response(error.status, error.message, error.headers)
    if isinstance(error, web.HTTPException):
        headers = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else None
        return error_response(error.status, _SENTENCES.get(error.status, error.reason), headers)
    if is_passing(error):
        _log.warning("store unavailable", error=type(error).__name__)
        return error_response(503, "Service unavailable", {"Retry-After": "1"})
    if isinstance(error, ConnectionResetError):
        raise error
    _log.error("unexpected error", exc_info=error)
    return error_response(500, VoiceError.message)
