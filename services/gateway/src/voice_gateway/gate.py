"""The way in: authenticate, count against the limits, check the scope. In this order, for every route of a tenant."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable

import structlog
from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from voice_common.errors import BadRequest, Forbidden, TooManyRequests, missing_tenant_context
from voice_common.web.observe import TENANT
from voice_gateway import audit
from voice_gateway.addresses import ClientAddresses, network_of
from voice_gateway.allowance import Allowance
from voice_gateway.areas import Area
from voice_gateway.authentication import Authenticator, Principal, RefusedError
from voice_gateway.limiter import Limiter
from voice_gateway.passed import Passed

FAILURES_PER_MINUTE = 30
"""How many requests of one IPv4 address or IPv6 /64 may fail to authenticate in any 60 s."""

ALLOWANCE = web.RequestKey("allowance", Allowance)
TenantHandler = Callable[[web.BaseRequest, Principal], Awaitable[web.StreamResponse | Passed]]


class Gate:
    """Lets a tenant's requests in."""

    def __init__(self, authenticator: Authenticator, limiter: Limiter, addresses: ClientAddresses) -> None:
        self._authenticator = authenticator
        self._limiter = limiter
        self._addresses = addresses

    def guard(self, area: Area, handler: TenantHandler) -> Handler:
        """Make `handler` one that only a tenant with the scope of `area` and something left of its limit reaches."""
        scope = area.scope

        async def guarded(request: web.Request) -> web.StreamResponse:
            if request.body_exists:
                raise BadRequest("A request of this kind has no body", headers={"Connection": "close"})
            principal = await self._authenticated(request, area)
            request[TENANT] = principal.tenant
            allowance = await self.counted(request, area, principal)
            if not allowance.decision.allowed:
                raise TooManyRequests(headers=allowance.refusal_headers())
            if scope not in principal.scopes:
                address = self._address(request)
                audit.scope_refused(area.name, scope, principal.tenant, principal.token, address)
                raise Forbidden(f"Token lacks scope {scope}")
            structlog.contextvars.bind_contextvars(tenant=principal.tenant)
            answer = await handler(request, principal)
            return answer.response() if isinstance(answer, Passed) else answer

        return guarded

    def known(self, request: web.BaseRequest, area: Area) -> Principal | None:
        """Give who asks, where that is known without waiting and the scope is there; ``None`` where it is open."""
        principal = self._authenticator.known(request.headers.getall(hdrs.AUTHORIZATION, ()))
        return principal if principal is not None and area.scope in principal.scopes else None

    async def _authenticated(self, request: web.Request, area: Area) -> Principal:
        headers = request.headers.getall(hdrs.AUTHORIZATION, ())
        known = self._authenticator.known(headers)
        if known is not None:
            return known
        try:
            return await self._authenticator.authenticate(headers, network_of(self._address(request)))
        except RefusedError as refusal:
            await self._slow_down(request, area, refusal)
            error = missing_tenant_context(area.name)
            if refusal.sent:
                error.headers["WWW-Authenticate"] = 'Bearer error="invalid_token"'
            raise error from refusal

    async def _slow_down(self, request: web.Request, area: Area, refusal: RefusedError) -> None:
        """Note a failure of the client's network; raise `TooManyRequests` where there were too many."""
        address = self._address(request)
        decision = await self._limiter.check(network_of(address), "failures", FAILURES_PER_MINUTE)
        slowed = not decision.allowed
        audit.authentication_failed(area.name, refusal.reason, address, slowed=slowed, looked_for=refusal.looked_for)
        if refusal.looked_for is not None:
            self._limiter.jwt_failures.note(refusal.reason, refusal.looked_for)
        if not decision.allowed:
            raise TooManyRequests(headers={"Retry-After": str(max(1, math.ceil(decision.free_in)))})

    async def counted(self, request: web.BaseRequest, area: Area, principal: Principal) -> Allowance:
        """Count the request against its tenant's limit, once however often this is asked; remember what is left."""
        known: Allowance | None = request.get(ALLOWANCE)
        if known is not None:
            return known
        limit = principal.limits.get(area.name, area.limit)
        decision = await self._limiter.check(principal.tenant, area.name, limit)
        allowance = request[ALLOWANCE] = Allowance(area.name, limit, decision)
        return allowance

    def _address(self, request: web.Request) -> str:
        return self._addresses.of(request.remote, request.headers.getall(hdrs.X_FORWARDED_FOR, ()))
