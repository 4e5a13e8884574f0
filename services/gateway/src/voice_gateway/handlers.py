"""What the routes do once a request is let in."""

from __future__ import annotations

import asyncio

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from voice_common.errors import RequestTimeout, Unavailable, VoiceError
from voice_common.web.health import HEALTH
from voice_common.web.render import json_response
from voice_gateway.answers import Answer, Form, choose_coding, none_match, now_us
from voice_gateway.authentication import Principal
from voice_gateway.bodies import Bodies
from voice_gateway.cache import Cache, Fetched, Outcome, Question
from voice_gateway.gate import ALLOWANCE, TenantHandler
from voice_gateway.headers import combined
from voice_gateway.passed import Passed
from voice_gateway.proxy import Proxy
from voice_gateway.queries import Report, normal_form
from voice_gateway.upstream import Service

_WEBHOOK_SECONDS = 1.35
"""Every webhook's answer must be out within 1.5 s (contract §8)."""

CACHED = web.RequestKey("cached", bool)
"""Set on a request that is answered with a report of the cache or a file of the console: no others may be kept."""

NOT_MODIFIED = 304
VARY = "Authorization, Origin, Accept-Encoding"


def passed_on(proxy: Proxy, service: Service) -> TenantHandler:
    """Make a handler that passes a tenant's request on."""

    async def handle(request: web.BaseRequest, principal: Principal) -> web.StreamResponse | Passed:
        return await proxy.forward(request, service, principal)

    return handle


def report(cache: Cache, proxy: Proxy, service: Service, kind: Report) -> TenantHandler:
    """Make a handler that answers a report of analytics, from the cache where it may."""

    async def handle(request: web.BaseRequest, principal: Principal) -> web.StreamResponse | Passed:
        form = normal_form(kind, request.raw_path.partition("?")[2])
        if form is None:
            return await proxy.forward(request, service, principal)
        question = _question(request, principal, kind, form)
        answer = cache.at_hand(question)
        outcome = Outcome.HIT
        if answer is None:
            outcome, found = await cache.find(question, lambda: proxy.fetch(request, service, principal))
            if isinstance(found, Fetched):
                return web.Response(status=found.status, headers=found.headers, body=found.body)
            answer = found
        return await _rendered(request, cache, question, answer, outcome)

    return handle


def key_of(principal: Principal, form: str) -> str:
    """Give the key in the cache of a tenant's report, by its query's normal form."""
    return f"{principal.tenant}:{principal.generation}:{form}"


def _question(request: web.BaseRequest, principal: Principal, kind: Report, form: str) -> Question:
    directives = combined(request.headers, hdrs.CACHE_CONTROL)
    demands = set() if directives is None else {part.strip().lower() for part in directives.split(",")}
    return Question(
        key_of(principal, form),
        principal.tenant,
        kind.ttl,
        request[ALLOWANCE].decision.refreshed,
        no_cache="no-cache" in demands,
        no_store="no-store" in demands,
    )


async def _rendered(
    request: web.BaseRequest, cache: Cache, question: Question, answer: Answer, outcome: Outcome
) -> web.Response:
    accepted = combined(request.headers, hdrs.ACCEPT_ENCODING)
    coding = None if accepted is None else choose_coding(accepted)
    form = answer.form(coding)
    if form is None and coding is not None:
        form = await answer.encode(coding)
        cache.grown(question, answer)
    assert form is not None  # noqa: S101 - the plain form is always there
    request[CACHED] = True
    status, headers = rendering(request, question, answer, form, outcome)
    return web.Response(status=status, headers=headers, body=None if status == NOT_MODIFIED else form.body)


def rendering(
    request: web.BaseRequest, question: Question, answer: Answer, form: Form, outcome: Outcome
) -> tuple[int, list[tuple[str, str]]]:
    """Give the status of a report's answer, 200 or 304 (RFC 9110 §13.1.2), and the headers that are its own."""
    headers = [
        (hdrs.CACHE_CONTROL, f"public, max-age={question.ttl}"),
        ("CDN-Cache-Control", "no-store"),
        ("ETag", form.etag),
        (hdrs.VARY, VARY),
        ("X-Cache", outcome.value),
    ]
    if outcome is not Outcome.MISS:
        headers.append((hdrs.AGE, str(answer.age(now_us()))))
    wanted = request.headers.getall(hdrs.IF_NONE_MATCH, None)
    if wanted is not None and none_match(wanted, form.etag):
        return NOT_MODIFIED, headers
    if form.coding is not None:
        headers.append((hdrs.CONTENT_ENCODING, form.coding))
    headers.append((hdrs.CONTENT_TYPE, "application/json; charset=utf-8"))
    return 200, headers


def webhook(proxy: Proxy, service: Service, bodies: Bodies) -> Handler:
    """Make the handler of webhooks: no token, no tenant, no limit; an answer within 1.5 s, whatever happens.

    Whatever went wrong on this side is a 503, so that Telnyx sends the event again. A body that is not there in time
    is a 408, which Telnyx sends again too: a 503 would let any stranger who trickles bytes count as our failure, and
    call somebody out of bed for an intake that is well (decision 0015).
    """

    async def handle(request: web.Request) -> web.StreamResponse:
        arrived = False
        try:
            async with asyncio.timeout(_WEBHOOK_SECONDS), bodies.read(request) as body:
                arrived = True
                answer = await proxy.forward(request, service, None, body)
                return answer.response() if isinstance(answer, Passed) else answer
        except TimeoutError as error:
            if not arrived:
                raise RequestTimeout(headers={"Connection": "close"}) from error
            raise Unavailable from error
        except VoiceError as error:
            if error.status >= 500:  # noqa: PLR2004 - a server's error
                raise Unavailable from error
            raise

    return handle


async def brief_readiness(request: web.Request) -> web.Response:
    """Say whether the gateway can serve, and nothing else."""
    if await request.app[HEALTH].is_ready():
        return json_response({"status": "ok"})
    return json_response({"status": "unavailable"}, status=503, headers={"Retry-After": "1"})
