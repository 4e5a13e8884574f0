"""What the gateway puts on every answer: the caller's limits, who may read it, and no caching unless it is allowed."""

from __future__ import annotations

from collections.abc import Iterable

from aiohttp import hdrs, web

from voice_common.web.observe import REQUEST_ID_HEADER
from voice_common.web.ready import ReadyResponse
from voice_gateway.allowance import LIMIT_HEADERS, Allowance
from voice_gateway.cors import admit
from voice_gateway.gate import ALLOWANCE
from voice_gateway.handlers import CACHED
from voice_gateway.passed import Passed

_CDN = "CDN-Cache-Control"
_ERROR = 400
_RETRIED = frozenset({429, 503})


class Dress:
    """Dresses answers; `origins` are those on which browsers may read what is theirs, and every error."""

    def __init__(self, origins: Iterable[str]) -> None:
        self._origins = frozenset(origins)
        self._private = [(hdrs.CACHE_CONTROL, "private, no-store")]
        if self._origins:
            self._private.append((hdrs.VARY, "Origin"))
        own = (*LIMIT_HEADERS, *(name for name, _ in self._private), _CDN)
        self._own = frozenset(name.lower() for name in own)

    async def __call__(self, request: web.BaseRequest, response: web.StreamResponse) -> None:
        """Dress a response as it starts."""
        allowance = request.get(ALLOWANCE)
        if allowance is not None:
            response.headers.update(allowance.headers())
        if response.headers.get(hdrs.CONNECTION) == "close":
            response.force_close()  # a body that was refused is not read: what follows it is no request
        if response.status in _RETRIED and hdrs.RETRY_AFTER not in response.headers:
            response.headers[hdrs.RETRY_AFTER] = "1"
        if response.status >= _ERROR and (origin := request.headers.get(hdrs.ORIGIN)) in self._origins:
            admit(response, str(origin))  # where the request went by no route, too: a script sees no status without
        if CACHED not in request:
            response.headers.popall(_CDN, None)
            response.headers.update(self._private)

    def ready(self, passed: Passed, allowance: Allowance, request_id: str) -> ReadyResponse:
        """Give what a service answered, dressed, as an answer that goes out at once."""
        headers = [pair for pair in passed.headers if pair[0].lower() not in self._own]
        headers += (*allowance.headers(), *self._private, (REQUEST_ID_HEADER, request_id))
        return ReadyResponse(passed.status, headers, passed.body)
