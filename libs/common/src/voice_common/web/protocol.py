"""One connection of a server, with the contract's errors where no application has seen a request."""

from __future__ import annotations

from http import HTTPStatus

import structlog
from aiohttp import HttpVersion11, hdrs, web
from aiohttp.http_exceptions import LineTooLong
from aiohttp.web_protocol import RequestHandler

from voice_common.errors import VoiceError
from voice_common.ids import request_id
from voice_common.web.observe import REQUEST_ID_HEADER
from voice_common.web.render import error_response

MAX_TARGET = 8190
MAX_HEADER = 8189  # unlike MAX_TARGET, so that aiohttp's LineTooLong tells by its limit which one it was

_log = structlog.get_logger("voice.connections")


class ContractProtocol(RequestHandler):
    """aiohttp's connection; what it can't parse is answered as all else is."""

    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002 - shows what was sent; it is not for the answer
    ) -> web.StreamResponse:
        """Answer a request that could not be parsed, or whose handler failed beyond the middlewares."""
        if isinstance(exc, ConnectionError) or request.writer.output_size > 0:
            closed = "nobody is there, or an answer is out already"
            raise ConnectionError(closed)
        sentence = VoiceError.message
        if status == HTTPStatus.BAD_REQUEST:  # the parser's
            status, sentence = self.refusal(exc)
            self.count_refusal(status)
            request._version = HttpVersion11  # noqa: SLF001 - aiohttp takes what it can't parse for HTTP/1.0
        else:
            _log.error("request failed beyond the application", error=type(exc).__name__)
        response = unseen(status, sentence)
        response.force_close()
        return response

    def count_refusal(self, status: int) -> None:
        """Count a request that could not be parsed, where somebody does."""

    def refusal(self, error: BaseException | None) -> tuple[int, str]:
        """Give status and sentence for what the parser refused."""
        if isinstance(error, LineTooLong):
            if error.args[1] == MAX_TARGET:
                return 414, "The request target is too long"
            return 431, "A request header is too large"
        if error is not None and "Too many headers" in str(error):
            return 431, "There are too many request headers"
        return 400, "Malformed request"


def unseen(status: int, sentence: str) -> web.Response:
    """Make an error of the contract for what no application has seen."""
    response = error_response(status, sentence, {hdrs.CACHE_CONTROL: "private, no-store", hdrs.SERVER: "voice"})
    response.headers[REQUEST_ID_HEADER] = request_id(None)
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        response.headers[hdrs.RETRY_AFTER] = "1"
    return response
