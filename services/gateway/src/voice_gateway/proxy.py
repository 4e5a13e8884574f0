"""Passing a request on to a service and its answer back, as a stream."""

from __future__ import annotations

from collections.abc import Awaitable

import orjson
from aiohttp import hdrs, web
from multidict import CIMultiDict

from voice_common.errors import BadGateway, GatewayTimeout, Unavailable, VoiceError
from voice_common.identity import IDENTITY_HEADER, Identity, IdentitySigner
from voice_common.web.observe import REQUEST_ID_HEADER, request_id_of
from voice_common.web.render import error_response
from voice_gateway.addresses import ClientAddresses
from voice_gateway.authentication import Principal
from voice_gateway.cache import Fetched
from voice_gateway.exchange import Answer, Body
from voice_gateway.headers import combined, to_client, to_service, traceparent_of
from voice_gateway.passed import Passed
from voice_gateway.upstream import Service

_AT_ONCE = 64 * 1024
_LARGEST_WHOLE = 64 * 1024 * 1024
_JSON = "application/json"
_ERRORS: dict[int, VoiceError] = {502: BadGateway(), 503: Unavailable(), 504: GatewayTimeout()}
_SENTENCES = {404: "Not found", 405: "Method not allowed", 413: "Request body is too large"}


class ClientLeftError(ConnectionResetError):
    """The client is gone; there is nobody to answer."""


class Proxy:
    """Speaks to services in a caller's name."""

    def __init__(self, signer: IdentitySigner, addresses: ClientAddresses) -> None:
        self._signer = signer
        self._addresses = addresses

    async def forward(
        self,
        request: web.BaseRequest,
        service: Service,
        principal: Principal | None,
        body: Body | None = None,
    ) -> web.StreamResponse | Passed:
        """Pass a request on and its answer back; `principal` is whose name it goes in (nobody's for a webhook)."""

        async def passed_on(answer: Answer) -> web.StreamResponse | Passed:
            if answer.status == 401 and principal is not None:  # noqa: PLR2004 - it is the gateway it does not know
                raise BadGateway
            if answer.status >= 400:  # noqa: PLR2004 - an error
                return await _error(answer, request.method)
            return await _pass_on(request, answer)

        headers = self._headers(request, service, principal)
        return await service.ask(request.method, request.raw_path, headers, passed_on, body=body)

    async def fetch(self, request: web.BaseRequest, service: Service, principal: Principal) -> Fetched:
        """Ask for the same as `request`, by GET, and give the whole answer; nothing depends on the client's stay."""
        headers = self._headers(request, service, principal)
        for name in (hdrs.ACCEPT_ENCODING, hdrs.IF_NONE_MATCH, hdrs.IF_MODIFIED_SINCE, hdrs.RANGE, hdrs.CACHE_CONTROL):
            headers.popall(name, None)
        return await service.ask("GET", request.raw_path, headers, _fetched)

    def _headers(self, request: web.BaseRequest, service: Service, principal: Principal | None) -> CIMultiDict[str]:
        received = request.headers
        request_id = request_id_of(request)
        scopes = frozenset[str]() if principal is None else principal.scopes
        tenant = None if principal is None else principal.tenant
        peer = request.remote
        trusted = self._addresses.trusts_peer(peer)
        before = received.getall(hdrs.X_FORWARDED_FOR, ()) if trusted else ()
        traceparent, own = traceparent_of(combined(received, "traceparent"))
        headers = to_service(received.items(), combined(received, hdrs.CONNECTION))
        headers += (
            (IDENTITY_HEADER, self._signer.sign(Identity(tenant, scopes, request_id), service.name)),
            (REQUEST_ID_HEADER, request_id),
            (hdrs.X_FORWARDED_FOR, ", ".join((*before, peer or "unknown"))),
            (hdrs.X_FORWARDED_HOST, (trusted and received.get(hdrs.X_FORWARDED_HOST)) or request.host),
            (hdrs.X_FORWARDED_PROTO, (trusted and received.get(hdrs.X_FORWARDED_PROTO)) or request.scheme),
            ("traceparent", traceparent),
        )
        if own and "tracestate" in received:
            headers.append(("tracestate", ",".join(received.getall("tracestate"))))
        return CIMultiDict(headers)


async def _fetched(answer: Answer) -> Fetched:
    if answer.status == 401:  # noqa: PLR2004 - it is the gateway it does not know
        raise BadGateway
    if answer.status >= 400:  # noqa: PLR2004 - an error
        error = await _error(answer, hdrs.METH_GET)
        return Fetched(error.status, bytes(error.body), error.headers)  # type: ignore[arg-type]
    body = await _whole(answer)
    if answer.status != 200 or not _is_json(answer):  # noqa: PLR2004 - a report is a 200 of JSON
        raise BadGateway
    return Fetched(answer.status, body, {})


async def _pass_on(request: web.BaseRequest, answer: Answer) -> web.StreamResponse | Passed:
    if request.method == hdrs.METH_HEAD:
        return _head_of(answer)
    headers = to_client(answer.headers.items(), combined(answer.headers, hdrs.CONNECTION))
    length = answer.content_length
    if length is not None and length <= _AT_ONCE:
        return Passed(answer.status, headers, await answer.read())
    response = web.StreamResponse(status=answer.status, headers=headers)
    response.content_length = length
    try:
        await _taken(response.prepare(request))
        async for chunk in answer.chunks():
            await _taken(response.write(chunk))
        await _taken(response.write_eof())
    except ClientLeftError:
        raise
    except BaseException:
        # The head is out: a second answer on this connection would be taken for the next request's.
        if request.transport is not None:
            request.transport.abort()
        raise
    return response


async def _taken(written: Awaitable[object]) -> None:
    """Wait until the client has taken what was written; raise `ClientLeftError` where nobody is there."""
    try:
        await written
    except ConnectionError as error:  # aiohttp's is one of its client's errors, too: it is not the service's
        raise ClientLeftError from error


async def _error(answer: Answer, method: str) -> web.Response:
    """Give a service's error: unchanged where it is JSON, else in the contract's words."""
    if method == hdrs.METH_HEAD:
        return _head_of(answer) if _is_json(answer) and answer.content_length else _error_of(answer.status)
    body = await _whole(answer, _AT_ONCE)
    if _is_json(answer) and _is_object(body):
        headers = to_client(answer.headers.items(), combined(answer.headers, hdrs.CONNECTION))
        return web.Response(status=answer.status, headers=headers, body=body)
    return _error_of(answer.status)


def _head_of(answer: Answer) -> web.Response:
    """Give the answer to HEAD: what GET would have but its body, so also that one's length."""
    headers = to_client(answer.headers.items(), combined(answer.headers, hdrs.CONNECTION))
    if answer.content_length is not None:
        headers.append((hdrs.CONTENT_LENGTH, str(answer.content_length)))
    return web.Response(status=answer.status, headers=headers)


def _error_of(status: int) -> web.Response:
    """Give the contract's error for a status that a service answered with."""
    known = _ERRORS.get(status)
    if known is not None:
        return error_response(known.status, known.message, known.headers)
    sentence = _SENTENCES.get(status, "Bad request" if status < 500 else VoiceError.message)  # noqa: PLR2004
    return error_response(status, sentence)


def _is_json(answer: Answer) -> bool:
    return answer.content_type == _JSON and hdrs.CONTENT_ENCODING not in answer.headers


def _is_object(body: bytes) -> bool:
    try:
        return isinstance(orjson.loads(body), dict)
    except orjson.JSONDecodeError:
        return False


async def _whole(answer: Answer, limit: int = _LARGEST_WHOLE) -> bytes:
    body = bytearray()
    async for chunk in answer.chunks():
        body += chunk
        if len(body) > limit:
            raise BadGateway
    return bytes(body)
