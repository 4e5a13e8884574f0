"""The front of the service: a webhook is taken in without the application's middlewares and signals.

They cost as much as a signature's verification, for an answer of twenty bytes. What is logged, counted and answered
is the same.
"""

from __future__ import annotations

import time

import orjson
import structlog
from aiohttp import hdrs, web

from voice_common.web.app import OBSERVER
from voice_common.web.observe import CLIENT_LEFT, REQUEST_ID_HEADER, request_id_of, stamp
from voice_common.web.ready import ReadyResponse, is_plain
from voice_common.web.render import answer_to
from voice_common.web.runner import Front
from voice_webhooks.handlers import PATHS, take
from voice_webhooks.reception import Result

_JSON = (hdrs.CONTENT_TYPE, "application/json; charset=utf-8")
_BODIES = {result: orjson.dumps({"status": result}) for result in Result}


def webhook_front(app: web.Application) -> Front:
    """Make the front of the webhooks service's application."""
    observer = app[OBSERVER]

    async def answer(request: web.BaseRequest) -> web.StreamResponse | None:
        path = request.raw_path
        if path not in PATHS or request.method != hdrs.METH_POST or not is_plain(request):
            return None
        if hdrs.EXPECT in request.headers:
            return None
        started = time.perf_counter()
        request_id = request_id_of(request)
        structlog.contextvars.bind_contextvars(request_id=request_id)
        status = CLIENT_LEFT
        try:
            result = await take(request, app)
            status = 200
        except Exception as error:  # noqa: BLE001 - the last place that sees it; the detail goes to the log
            response = answer_to(error)
            status = response.status
            await stamp(request, response)
            return response
        finally:
            observer.record(request, path, hdrs.METH_POST, status, started)
        return ReadyResponse(200, [_JSON, (REQUEST_ID_HEADER, request_id)], _BODIES[result])

    return answer
