"""Who calls a service's route: the gateway's signed identity, checked before anything else."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler

from voice_common.errors import Forbidden, missing_tenant_context
from voice_common.identity import IDENTITY_HEADER, Check, Identity, IdentityVerifier, InvalidIdentityError
from voice_common.web.observe import TENANT

IDENTITY_VERIFIER = web.AppKey("identity_verifier", IdentityVerifier)
TenantHandler = Callable[[web.Request, str], Awaitable[web.StreamResponse]]


def caller(request: web.Request, area: str) -> Identity:
    """Give the identity that the gateway signed for this request; raise the area's 401 where there is none."""
    try:
        return request.app[IDENTITY_VERIFIER].verify(request.headers.get(IDENTITY_HEADER))
    except InvalidIdentityError as error:
        raise missing_tenant_context(area) from error


async def caller_by(check: Check, request: web.BaseRequest, verifier: IdentityVerifier, area: str) -> Identity:
    """Do as `caller`, with what `verifier` takes and `check` finds good."""
    try:
        return await verifier.verify_by(check, request.headers.get(IDENTITY_HEADER))
    except InvalidIdentityError as error:
        raise missing_tenant_context(area) from error


def for_tenant(area: str) -> Callable[[TenantHandler], Handler]:
    """Make a handler of ``(request, tenant)`` one that only a tenant with the scope ``<area>:read`` reaches."""
    scope = f"{area}:read"

    def wrap(handler: TenantHandler) -> Handler:
        async def checked(request: web.Request) -> web.StreamResponse:
            identity = caller(request, area)
            if identity.tenant is None:
                raise missing_tenant_context(area)
            if scope not in identity.scopes:
                raise Forbidden(f"Token lacks scope {scope}")
            request[TENANT] = identity.tenant
            structlog.contextvars.bind_contextvars(tenant=identity.tenant)
            return await handler(request, identity.tenant)

        return checked

    return wrap
