"""Answers as JSON: bodies, and errors as ``{"error": "<one sentence>"}``."""

from __future__ import annotations

from collections.abc import Mapping

import orjson
import structlog
from aiohttp import web
from aiohttp.typedefs import Handler
from pymongo.errors import ConnectionFailure, ExecutionTimeout, PyMongoError

from voice_common.errors import VoiceError

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
async def render_errors(  # noqa: PLR0911 - one answer for each kind of failure
    request: web.Request, handler: Handler
) -> web.StreamResponse:
    """Turn what a handler raises into an answer of the contract; unknown exceptions show no detail."""
    try:
        return await handler(request)
    except VoiceError as error:
        return error_response(error.status, error.message, error.headers)
    except web.HTTPException as error:
        headers = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else None
        return error_response(error.status, _SENTENCES.get(error.status, error.reason), headers)
    except (ConnectionFailure, ExecutionTimeout) as error:
        _log.warning("store unavailable", error=type(error).__name__)
        return error_response(503, "Service unavailable", {"Retry-After": "1"})
    except PyMongoError as error:
        if error.timeout:
            _log.warning("store timed out", error=type(error).__name__)
            return error_response(503, "Service unavailable", {"Retry-After": "1"})
        return _unexpected()
    except ConnectionResetError:
        raise
    except Exception:  # noqa: BLE001 - the last place that sees it; the detail goes to the log
        return _unexpected()


def _unexpected() -> web.Response:
    _log.exception("unexpected error")
    return error_response(500, VoiceError.message)
