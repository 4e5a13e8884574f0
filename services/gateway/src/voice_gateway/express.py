"""The express: plain requests of known tenants, answered without the application around the handlers.

aiohttp's router, middlewares, signals and general responses cost more than all that the gateway does for a request.
The checks are the application's own, in its order, and so are the headers; whatever is not plain (an odd request, a
token that must be looked up, a report that must be asked for) is left to the application, which goes on with what
was counted.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from typing import NamedTuple

import structlog
from aiohttp import hdrs, web

from voice_common.errors import TooManyRequests
from voice_common.web.observe import CLIENT_LEFT, REQUEST_ID_HEADER, TENANT, Observer, request_id_of, stamp
from voice_common.web.ready import ReadyResponse, is_plain
from voice_common.web.render import answer_to
from voice_gateway.allowance import Allowance
from voice_gateway.answers import choose_coding
from voice_gateway.areas import Area
from voice_gateway.authentication import Principal
from voice_gateway.cache import Cache, Outcome, Question
from voice_gateway.dress import Dress
from voice_gateway.gate import Gate, TenantHandler
from voice_gateway.handlers import NOT_MODIFIED, key_of, rendering
from voice_gateway.headers import combined
from voice_gateway.passed import Passed
from voice_gateway.queries import Report, normal_form
from voice_gateway.targets import is_clean, is_internal

_TARGETS = 4096
_PARAMETER = re.compile(r"\{[^{}]*\}")
_PLAIN_ID = "[A-Za-z0-9._:-]{1,128}"


class Lane(NamedTuple):
    """A route of the express: its canonical path, its area, and its handler or the report that is cached."""

    route: str
    area: Area
    handler: TenantHandler
    report: Report | None


class _Target(NamedTuple):
    lane: Lane
    form: str
    """The normal form of a report's query."""


class Express:
    """Answers what goes by its lanes."""

    def __init__(
        self, gate: Gate, cache: Cache, observer: Observer, lanes: Iterable[Lane], dress: Dress, metrics_port: int
    ) -> None:
        self._dress = dress
        self._gate = gate
        self._cache = cache
        self._observer = observer
        self._metrics_port = metrics_port
        self._lanes = [(re.compile(_PARAMETER.sub(_PLAIN_ID, lane.route)), lane) for lane in lanes]
        self._targets: dict[str, _Target] = {}

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse | None:
        """Answer a request, or give ``None`` where that is for the application."""
        started = time.perf_counter()
        target = self._targets.get(request.raw_path) or self._target_of(request.raw_path)
        if target is None or not self._is_plain(request):
            return None
        lane = target.lane
        principal = self._gate.known(request, lane.area)
        if principal is None or (lane.report is not None and not self._is_at_hand(request, principal, target)):
            return None
        request[TENANT] = principal.tenant
        status: int | None = CLIENT_LEFT
        try:
            allowance = await self._gate.counted(request, lane.area, principal)
            if not allowance.decision.allowed:
                answer: web.StreamResponse | None = await self._refusal(request, allowance)
            elif lane.report is None:
                answer = await self._forwarded(request, lane, principal, allowance)
            else:
                answer = self._report(request, lane.report, target.form, principal, allowance)
            status = None if answer is None else answer.status
        finally:
            if status is not None:
                self._observer.record(request, lane.route, hdrs.METH_GET, status, started)
        return answer

    def _target_of(self, raw_path: str) -> _Target | None:
        path, _, query = raw_path.partition("?")
        lane = next((lane for pattern, lane in self._lanes if pattern.fullmatch(path)), None)
        if lane is None or not is_clean(raw_path):
            return None
        form = "" if lane.report is None else normal_form(lane.report, query)
        if form is None:
            return None
        if len(self._targets) >= _TARGETS:
            del self._targets[next(iter(self._targets))]
        target = self._targets[raw_path] = _Target(lane, form)
        return target

    def _is_plain(self, request: web.BaseRequest) -> bool:
        headers = request.headers
        return (
            request.method == hdrs.METH_GET
            and is_plain(request)
            and not request.body_exists
            and not (  # spelled out: a loop costs as much as all the rest of this
                hdrs.TRAILER in headers
                or hdrs.TRANSFER_ENCODING in headers
                or hdrs.EXPECT in headers
                or hdrs.ORIGIN in headers
            )
            and not is_internal(request, self._metrics_port)
        )

    def _is_at_hand(self, request: web.BaseRequest, principal: Principal, target: _Target) -> bool:
        report = target.lane.report
        return (
            report is not None
            and hdrs.CACHE_CONTROL not in request.headers
            and self._cache.holds(key_of(principal, target.form), report.ttl)
        )

    def _report(
        self, request: web.BaseRequest, report: Report, form: str, principal: Principal, allowance: Allowance
    ) -> ReadyResponse | None:
        key = key_of(principal, form)
        question = Question(key, principal.tenant, report.ttl, allowance.decision.refreshed)
        answer = self._cache.at_hand(question)
        if answer is None:
            return None
        accepted = combined(request.headers, hdrs.ACCEPT_ENCODING)
        encoded = answer.form(None if accepted is None else choose_coding(accepted))
        if encoded is None:
            return None
        status, headers = rendering(request, question, answer, encoded, Outcome.HIT)
        headers.extend(allowance.headers())
        headers.append((REQUEST_ID_HEADER, request_id_of(request)))
        return ReadyResponse(status, headers, b"" if status == NOT_MODIFIED else encoded.body)

    async def _forwarded(
        self, request: web.BaseRequest, lane: Lane, principal: Principal, allowance: Allowance
    ) -> web.StreamResponse:
        structlog.contextvars.bind_contextvars(request_id=request_id_of(request), tenant=principal.tenant)
        try:
            answer = await lane.handler(request, principal)
        except Exception as error:  # noqa: BLE001 - the last place that sees it; the detail goes to the log
            answer = answer_to(error)
        if isinstance(answer, Passed):
            return self._dress.ready(answer, allowance, request_id_of(request))
        return await self._ready(request, answer)

    async def _refusal(self, request: web.BaseRequest, allowance: Allowance) -> web.StreamResponse:
        return await self._ready(request, answer_to(TooManyRequests(headers=allowance.refusal_headers())))

    async def _ready(self, request: web.BaseRequest, answer: web.StreamResponse) -> web.StreamResponse:
        """Make an answer that is there as a whole one that goes out at once."""
        if answer.prepared or not isinstance(answer, web.Response):
            return answer
        await stamp(request, answer)
        await self._dress(request, answer)
        return ReadyResponse.of(answer)


EXPRESS = web.AppKey("express", Express)
DRESS = web.AppKey("dress", Dress)
