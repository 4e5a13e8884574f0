"""The description of the API, for programs and for people; open to everybody, as it tells of no tenant.

The page is Swagger UI out of the wheel ``offapi``, from this host alone, under a strict Content-Security-Policy.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from aiohttp import hdrs, web
from typing_extensions import TypedDict

from voice_common.web.health import livez
from voice_common.web.openapi import Answer as Told
from voice_common.web.openapi import Endpoint, failure, header
from voice_common.web.query import NoQuery, parse_query
from voice_common.web.shapes import closed, open_ended
from voice_gateway.answers import Answer, choose_coding, none_match, now_us
from voice_gateway.handlers import NOT_MODIFIED, brief_readiness
from voice_gateway.headers import combined
from voice_gateway.openapi import ApiDescription

DESCRIPTION = web.AppKey("description", ApiDescription)
_OWN = Path(__file__).with_name("docs_page")
_HEADERS = {
    hdrs.VARY: "Origin, Accept-Encoding",
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
}
_JSON, _HTML = "application/json; charset=utf-8", "text/html; charset=utf-8"
_JS, _CSS = "text/javascript; charset=utf-8", "text/css; charset=utf-8"
_TAG = "About"


@closed
class Health(TypedDict):
    """Whether something is well."""

    status: Literal["ok"]


@closed
class Unhealthy(TypedDict):
    """What can't serve now."""

    status: Literal["unavailable"]


@open_ended
class Document(TypedDict):
    """An OpenAPI 3.1 document."""

    openapi: str
    info: dict[str, Any]
    paths: dict[str, Any]


async def document(request: web.Request) -> web.Response:
    """Answer with the OpenAPI document of all that the gateway serves."""
    parse_query(request, NoQuery)
    return await _rendered(request, await request.app[DESCRIPTION].current(), _JSON)


def add_docs(app: web.Application, description: ApiDescription) -> web.AbstractResource:
    """Serve the document, the page and what the page is made of; give the document's resource."""
    app[DESCRIPTION] = description
    app.router.add_get(_PAGE.path, _PAGE.handler)
    for path, name, folder, content_type in (
        ("page.js", "page.js", _OWN, _JS),
        ("page.css", "page.css", _OWN, _CSS),
        ("swagger-ui-bundle.js", "swagger_bundle.js", _wheel(), _JS),
        ("swagger-ui.css", "swagger_style.css", _wheel(), _CSS),
    ):
        app.router.add_get(f"{_PAGE.path}/{path}", _file(folder / name, content_type))
    resource = app.router.add_resource(_DOCUMENT.path)
    resource.add_route(hdrs.METH_GET, _DOCUMENT.handler)
    resource.add_route(hdrs.METH_HEAD, _DOCUMENT.handler)
    return resource


def _wheel() -> Path:
    """Find the folder of Swagger UI's files; importing the package would read all of them, and more, into memory."""
    spec = find_spec("offapi")
    if spec is None or not spec.submodule_search_locations:
        message = "the package offapi is not installed"
        raise RuntimeError(message)
    return Path(spec.submodule_search_locations[0])


def _file(path: Path, content_type: str) -> Callable[[web.Request], Awaitable[web.Response]]:
    kept: list[Answer] = []

    async def handle(request: web.Request) -> web.Response:
        parse_query(request, NoQuery)
        if not kept:
            kept.append(Answer(await asyncio.to_thread(path.read_bytes), now_us()))
        return await _rendered(request, kept[0], content_type)

    return handle


async def _rendered(request: web.Request, answer: Answer, content_type: str) -> web.Response:
    coding = choose_coding(combined(request.headers, hdrs.ACCEPT_ENCODING) or "identity")
    form = answer.form(coding) or await answer.encode(str(coding))
    headers = {**_HEADERS, hdrs.ETAG: form.etag, hdrs.CONTENT_TYPE: content_type}
    if none_match(request.headers.getall(hdrs.IF_NONE_MATCH, ()), form.etag):
        return web.Response(status=NOT_MODIFIED, headers=headers)
    if form.coding is not None:
        headers[hdrs.CONTENT_ENCODING] = form.coding
    return web.Response(body=form.body, headers=headers)


_BAD_QUERY = failure("There are no query parameters here.", "Unknown query parameter format")
_KEPT = {
    "Cache-Control": header("Nobody keeps it.", "private, no-store", const="private, no-store"),
    "ETag": header("Strong tag of this answer in this coding.", '"4b6f1c0d8a7e4e55b1c2d3e4f5061728"'),
}
_SOON = {"Retry-After": header("Seconds after which to try again.", 1, kind="integer", minimum=1)}
_DOCUMENT = Endpoint(
    method="GET",
    path="/api/openapi.json",
    handler=document,
    id="getDescription",
    tag=_TAG,
    summary="Get this document",
    description="The OpenAPI 3.1 description of the API, put together out of what each service tells of its own "
    "routes. A service that is down is described as it was last; while one has never been heard of, the answer is 503.",
    answers={
        200: Told(
            description="The document.",
            body=Document,
            examples={"document": {"openapi": "3.1.1", "info": {"title": "Voice System API"}, "paths": {}}},
            headers=_KEPT,
        ),
        400: _BAD_QUERY,
        503: failure("A service has not described itself yet.", "Service unavailable", headers=_SOON),
    },
)
_PAGE = Endpoint(
    method="GET",
    path="/api/docs",
    handler=_file(_OWN / "index.html", _HTML),
    id="getDocs",
    tag=_TAG,
    summary="Read this document as a page",
    description="The document for people: every endpoint with examples, to be tried out with a token of one's own.",
    answers={
        200: Told(
            description="The page.",
            body=str,
            examples={"page": "<!doctype html><title>Voice System API</title>"},
            headers=_KEPT,
            media="text/html",
        ),
        400: _BAD_QUERY,
    },
)
ABOUT = (
    _DOCUMENT,
    _PAGE,
    Endpoint(
        method="GET",
        path="/livez",
        handler=livez,
        id="getLiveness",
        tag=_TAG,
        summary="Ask whether the gateway runs",
        description="Looks at nothing but the process.",
        answers={200: Told(description="It runs.", body=Health, examples={"ok": {"status": "ok"}})},
    ),
    Endpoint(
        method="GET",
        path="/readyz",
        handler=brief_readiness,
        id="getReadiness",
        tag=_TAG,
        summary="Ask whether the gateway can serve",
        description="A status and nothing else.",
        answers={
            200: Told(description="It can serve.", body=Health, examples={"ok": {"status": "ok"}}),
            503: Told(
                description="It can't serve now.",
                body=Unhealthy,
                examples={"unavailable": {"status": "unavailable"}},
                headers=_SOON,
            ),
        },
    ),
)
"""What the gateway serves by itself, beside the console."""
