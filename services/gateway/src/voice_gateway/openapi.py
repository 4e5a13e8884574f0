"""The public description of the API: what the services tell of their routes, and what the gateway adds to them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from copy import deepcopy
from importlib.metadata import version
from typing import cast

import orjson
import structlog
from multidict import CIMultiDict

from voice_common.errors import BadGateway, Unavailable, VoiceError
from voice_common.web.openapi import PATH, VERSION, Endpoint, Json, describe, template_of
from voice_gateway import promises
from voice_gateway.answers import Answer, now_us
from voice_gateway.areas import ServiceName
from voice_gateway.exchange import Answer as Told
from voice_gateway.routes import FORWARDED, Forwarded
from voice_gateway.upstream import Service

_FRESH_SECONDS = 60.0
_PAUSE_SECONDS = 1.0
_ASK_SECONDS = 2.0
_log = structlog.get_logger("voice.gateway.openapi")
_INTRODUCTION = """
Voice calls of Telnyx: analytics, recordings and transcripts, one tenant's at a time.

**Authentication.** `Authorization: Bearer <token>`: an API token (`vst_…`) or a JWT. A tenant sees its own data only;
another tenant's conversation answers exactly as one that does not exist.

**Conventions.** JSON in UTF-8, times in RFC 3339 UTC with `Z`. Every error has the body `{"error": "<one sentence>"}`.
An unknown or repeated query parameter is a 400 that names it. A path that is not listed here is a 404
(`{"error": "Not found"}`), a method that is not listed a 405 with `Allow`; `HEAD` answers as `GET` does, without a
body.

**Limits.** For each tenant in any 60 s: analytics 60, recordings 30, conversations 120 requests, unless the tenant has
figures of its own. The `X-RateLimit-*` headers say what is left; over it, a 429 with `Retry-After`.

**Caching.** Analytics' answers are fresh for 60 s (timeline: 300 s). `If-None-Match` with an answer's `ETag` gives a
304; `Cache-Control: no-cache` gives an answer that is computed after the request arrived.
""".strip()
_TAGS = {
    "Analytics": "Exact metrics of the tenant's calls.",
    "Recordings": "Recordings of calls.",
    "Conversations": "Calls, each with its facts and its transcript.",
    "Webhooks": "Where Telnyx sends its events. The signature is the authentication.",
    "About": "The API's own description and whether it can serve.",
}


class ApiDescription:
    """Asks the services for their descriptions and merges them; at most once a minute.

    A service that does not answer is described as it was when it last did.
    """

    def __init__(
        self,
        services: Iterable[Service],
        own: Iterable[Endpoint],
        *,
        clock: Callable[[], float],
    ) -> None:
        self._services = list(services)
        self._own = describe("gateway", own)
        self._clock = clock
        self._told: dict[ServiceName, Json] = {}
        self._merged: Answer | None = None
        self._asked_at = float("-inf")
        self._asking = asyncio.Lock()

    async def current(self) -> Answer:
        """Give the public document as JSON; raise `Unavailable` while a service has never been heard of.

        A document without a service's paths would look complete, and a client made from it would lack them.
        """
        async with self._asking:
            # Whoever waits behind one that found a service silent must not find that out again, each after the other.
            if self._clock() - self._asked_at > (_PAUSE_SECONDS if self._merged is None else _FRESH_SECONDS):
                await self._renew()
                self._asked_at = self._clock()
            if self._merged is None:
                raise Unavailable
            return self._merged

    async def _renew(self) -> None:
        await asyncio.gather(*(self._ask(service) for service in self._services))
        if len(self._told) == len(self._services):
            body = orjson.dumps(merged(self._own, self._told))
            if self._merged is None or self._merged.body != body:  # one that is the same has its codings already
                self._merged = Answer(body, now_us())

    async def _ask(self, service: Service) -> None:
        try:
            async with asyncio.timeout(_ASK_SECONDS):
                self._told[service.name] = await service.ask("GET", PATH, CIMultiDict(), _read)
        except (VoiceError, TimeoutError, orjson.JSONDecodeError) as error:
            _log.warning("service did not describe itself", dependency=service.name, error=type(error).__name__)


async def _read(answer: Told) -> Json:
    document = orjson.loads(await answer.read())
    if answer.status != 200 or not {"paths", "components"} <= set(document):  # noqa: PLR2004 - what is good
        raise BadGateway
    return cast("Json", document)


def merged(own: Json, told: Mapping[ServiceName, Json]) -> Json:
    """Give one document of all that is forwarded and of the gateway's own routes.

    Services share names of schemas only for what is common to all, so it does not matter whose is taken.
    """
    paths: Json = {}
    schemas: Json = {}
    schemes: Json = {"bearer": promises.BEARER}
    for forwarded in FORWARDED:
        template = template_of(forwarded.path)
        described = told[forwarded.service]["paths"].get(template, {})
        paths[template] = {
            method: _forwarded_operation(operation, forwarded) for method, operation in described.items()
        }
    for document in (*told.values(), own):
        schemas |= document["components"]["schemas"]
        schemes |= document["components"]["securitySchemes"]
    for template, operations in own["paths"].items():
        paths[template] = {method: _own_operation(operation) for method, operation in operations.items()}
    return {
        "openapi": VERSION,
        "info": {
            "title": "Voice System API",
            "version": version("voice-gateway"),
            "description": _INTRODUCTION,
            "license": {"name": "Apache License 2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/", "description": "The gateway that serves this document"}],
        "tags": [{"name": name, "description": description} for name, description in _TAGS.items()],
        "paths": paths,
        "components": {
            "schemas": dict(sorted(schemas.items())),
            "headers": promises.HEADERS,
            "parameters": promises.REPORT_PARAMETERS,
            "securitySchemes": schemes,
        },
    }


def _forwarded_operation(told: Json, forwarded: Forwarded) -> Json:
    operation = deepcopy(told)
    area, report = forwarded.area, forwarded.report
    responses = operation["responses"]
    for status, response in responses.items():
        response["headers"] = promises.every() | promises.headers_of(status, area, report) | response.get("headers", {})
    responses = promises.refusals(area) | responses
    if area is not None:
        operation["security"] = [{"bearer": [area.scope]}]
    if area is not None and report is not None:
        responses["304"] = promises.not_modified(report, area)
        operation["parameters"] += [{"$ref": f"#/components/parameters/{name}"} for name in promises.REPORT_PARAMETERS]
    operation["responses"] = dict(sorted(responses.items()))
    return operation


def _own_operation(told: Json) -> Json:
    operation = deepcopy(told)
    for response in operation["responses"].values():
        response["headers"] = promises.every() | response.get("headers", {})
    operation["security"] = []
    return operation
