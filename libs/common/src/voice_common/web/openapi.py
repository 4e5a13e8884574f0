"""What a service tells of its own routes, as OpenAPI 3.1: the route and its description are one thing.

The shapes are made from the types that the code itself goes by; ``GET /openapi.json`` gives the description to the
gateway, which merges those of all services into the public one. Specification: OpenAPI 3.1.1.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import orjson
from aiohttp import web
from aiohttp.typedefs import Handler
from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode

from voice_common.web.query import NoQuery, QueryModel
from voice_common.web.shapes import Error

PATH = "/openapi.json"
VERSION = "3.1.1"
Json = dict[str, Any]
_REF = "#/components/schemas/{model}"
_TEMPLATE = re.compile(r"\{(\w+)(?::[^{}]*)?\}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One answer of an endpoint: what it means, the type of its body, and examples of it by name.

    `headers` are those that this answer has beyond what every answer has, and `links` where its values lead, both as
    OpenAPI has them.
    """

    description: str
    body: Any
    examples: Mapping[str, object]
    headers: Mapping[str, Json] = field(default_factory=dict)
    links: Mapping[str, Json] = field(default_factory=dict)
    media: str = "application/json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """The JSON that a request has: what it means, its type, and examples by name."""

    description: str
    type: Any
    examples: Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Endpoint:
    """One route and what its callers are told of it.

    `path` is aiohttp's, with patterns; `parameters` are the schemas of its variables by name; `security` names the
    schemes that it asks for all at once, each as OpenAPI has it (a tenant's token is the gateway's to add).
    """

    method: str
    path: str
    handler: Handler
    id: str
    tag: str
    summary: str
    description: str
    answers: Mapping[int, Answer]
    query: type[QueryModel] = NoQuery
    parameters: Mapping[str, Json] = field(default_factory=dict)
    body: Body | None = None
    security: Mapping[str, Json] = field(default_factory=dict)


def failure(description: str, *sentences: str, headers: Mapping[str, Json] | None = None) -> Answer:
    """Give an error's answer, with the sentences that it may say as examples."""
    examples = {sentence: {"error": sentence} for sentence in sentences}
    return Answer(description=description, body=Error, examples=examples, headers=headers or {})


def header(description: str, example: object, *, kind: str = "string", always: bool = True, **more: object) -> Json:
    """Give a response header's description; `always` when every such answer has it."""
    return {
        "description": description,
        "required": always,
        "schema": {"type": kind, **more},
        "example": example,
    }


def template_of(path: str) -> str:
    """Give an aiohttp path as OpenAPI has it: variables without their patterns."""
    return _TEMPLATE.sub(r"{\1}", path)


def add_endpoints(app: web.Application, name: str, endpoints: Sequence[Endpoint]) -> None:
    """Add the routes of a service, and the one that describes them."""
    body = _told(name, tuple(endpoints))

    async def answer(_request: web.Request) -> web.Response:
        return web.Response(body=body, content_type="application/json", charset="utf-8")

    app.add_routes(web.route(endpoint.method, endpoint.path, endpoint.handler) for endpoint in endpoints)
    app.router.add_get(PATH, answer)


@cache
def _told(name: str, endpoints: tuple[Endpoint, ...]) -> bytes:
    """Give a service's description as JSON, made once in a process: making it takes longer than all else at a start."""
    return orjson.dumps(describe(name, endpoints))


def describe(name: str, endpoints: Iterable[Endpoint]) -> Json:
    """Give the OpenAPI document of a service's endpoints."""
    endpoints = list(endpoints)
    schemas, definitions = _schemas_of(endpoints)
    paths: dict[str, Json] = {}
    schemes: Json = {}
    for endpoint in endpoints:
        paths.setdefault(template_of(endpoint.path), {})[endpoint.method.lower()] = _operation(endpoint, schemas)
        schemes |= endpoint.security
    return {
        "openapi": VERSION,
        "info": {"title": f"Voice System: {name}", "version": "1.0.0"},
        "paths": paths,
        "components": {"schemas": definitions, "securitySchemes": schemes},
    }


class _Untitled(GenerateJsonSchema):
    """JSON schemas without a title made of each field's name, which says nothing that the name does not."""

    def field_title_should_be_set(self, schema: object) -> bool:  # noqa: ARG002 - pydantic's own signature
        return False


_Key = tuple[str, int, JsonSchemaMode]


def _schemas_of(endpoints: Iterable[Endpoint]) -> tuple[dict[tuple[_Key, JsonSchemaMode], Json], Json]:
    """Give the schemas of all bodies, by place, and the definitions that they share."""
    inputs: list[tuple[_Key, JsonSchemaMode, TypeAdapter[Any]]] = []
    for endpoint in endpoints:
        inputs += [
            ((endpoint.id, status, "serialization"), "serialization", TypeAdapter(answer.body))
            for status, answer in endpoint.answers.items()
        ]
        if endpoint.body is not None:
            inputs.append(((endpoint.id, 0, "validation"), "validation", TypeAdapter(endpoint.body.type)))
    schemas, shared = TypeAdapter.json_schemas(inputs, ref_template=_REF, schema_generator=_Untitled)
    definitions = shared.get("$defs", {})
    for schema in definitions.values():
        schema.pop("title", None)
    return schemas, definitions


def _operation(endpoint: Endpoint, schemas: Mapping[tuple[_Key, JsonSchemaMode], Json]) -> Json:
    operation: Json = {
        "operationId": endpoint.id,
        "tags": [endpoint.tag],
        "summary": endpoint.summary,
        "description": endpoint.description,
        "parameters": [
            *({"name": name, "in": "path", "required": True, **of} for name, of in endpoint.parameters.items()),
            *_query_parameters(endpoint.query),
        ],
        "responses": {
            str(status): _response(answer, schemas[(endpoint.id, status, "serialization"), "serialization"])
            for status, answer in sorted(endpoint.answers.items())
        },
    }
    if endpoint.body is not None:
        schema = schemas[(endpoint.id, 0, "validation"), "validation"]
        operation["requestBody"] = {
            "description": endpoint.body.description,
            "required": True,
            "content": {"application/json": {"schema": schema, "examples": _examples(endpoint.body.examples)}},
        }
    if endpoint.security:
        operation["security"] = [{scheme: [] for scheme in endpoint.security}]
    return operation


def _response(answer: Answer, schema: Json) -> Json:
    response: Json = {
        "description": answer.description,
        "content": {answer.media: {"schema": schema, "examples": _examples(answer.examples)}},
    }
    if answer.headers:
        response["headers"] = dict(answer.headers)
    if answer.links:
        response["links"] = dict(answer.links)
    return response


def _examples(examples: Mapping[str, object]) -> Json:
    return {name: {"value": value} for name, value in examples.items()}


def _query_parameters(model: type[QueryModel]) -> list[Json]:
    """Give the parameters of a query; none of them can be ``null``, whatever the field's default."""
    schema = model.model_json_schema(schema_generator=_Untitled)
    required = schema.get("required", ())
    parameters = []
    for name, field_schema in schema.get("properties", {}).items():
        own = dict(field_schema)
        description, examples = own.pop("description"), own.pop("examples", ())
        choices = [choice for choice in own.pop("anyOf", ()) if choice != {"type": "null"}]
        own = {**own, **choices[0]} if choices else own
        if "$ref" in own:  # an enumeration; it is said in place, since it is one query's
            own |= {**schema["$defs"][own.pop("$ref").rpartition("/")[2]], "title": None, "description": None}
            own = {key: value for key, value in own.items() if value is not None or key == "default"}
        if own.get("default", ...) is None:
            del own["default"]
        parameter = {
            "name": name,
            "in": "query",
            "required": name in required,
            "description": description,
            "schema": own,
        }
        if examples:  # what a page fills in for a reader who tries the endpoint out: together they must be a good query
            parameter["examples"] = {str(example): {"value": example} for example in examples}
        parameters.append(parameter)
    return parameters
