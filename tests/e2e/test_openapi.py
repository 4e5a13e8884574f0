"""The API's description of itself is a good OpenAPI document, tells of every route, and holds what it says."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from aiohttp import web
from e2e_factories import World, until
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

from voice_analytics.app import create_app as create_analytics
from voice_analytics.settings import AnalyticsSettings
from voice_common.identity import new_key_pair
from voice_common.store.tenants import AreaName
from voice_gateway.app import create_app as create_gateway
from voice_gateway.console import VIEWS
from voice_gateway.settings import GatewaySettings
from voice_local.simulation.delivery import planned
from voice_recordings.app import create_app as create_recordings
from voice_recordings.settings import RecordingsSettings
from voice_webhooks.app import create_app as create_webhooks
from voice_webhooks.settings import WebhooksSettings

OPERATORS = {("GET", path) for path in ("/livez", "/readyz", "/metrics", "/openapi.json")}
"""What is on a service's internal port for its operators and the gateway, and is not forwarded."""

PARTS_OF_PAGES = re.compile(r"/api/docs/.+|/console/assets/.+")
SCHEMATHESIS_SECONDS = 110  # it takes 20 on an idle machine

Route = tuple[str, str]


@pytest.fixture
async def document(world: World) -> dict[str, Any]:
    async def told() -> bool:
        return (await world.get("/api/openapi.json")).status == 200

    await until(told)
    answer: dict[str, Any] = (await world.get("/api/openapi.json")).body
    return answer


def operations_of(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            yield method.upper(), path, operation


def routes_of(app: web.Application) -> set[Route]:
    """Give the routes of a service's table; HEAD goes with GET."""
    routes = {(route.method, route.resource.canonical) for route in app.router.routes() if route.resource is not None}
    heads = {path for method, path in routes if method == "HEAD"}
    assert heads <= {path for method, path in routes if method == "GET"}
    return {(method, path) for method, path in routes if method != "HEAD"}


async def apps() -> dict[str, web.Application]:
    private, public = new_key_pair()
    internal: dict[str, Any] = {"identity_public_keys": [public]}
    return {
        "gateway": create_gateway(GatewaySettings(identity_private_key=private)),
        "analytics": create_analytics(AnalyticsSettings(**internal)),
        "recordings": create_recordings(RecordingsSettings(**internal)),
        "webhooks": create_webhooks(WebhooksSettings(**internal)),
    }


def test_the_document_is_valid_openapi_3_1(document: dict[str, Any]) -> None:
    assert document["openapi"].startswith("3.1.")
    OpenAPIV31SpecValidator(document).validate()
    names = [operation["operationId"] for _, _, operation in operations_of(document)]
    assert len(names) == len(set(names))
    assert {tag for _, _, operation in operations_of(document) for tag in operation["tags"]} == {
        tag["name"] for tag in document["tags"]
    }


async def test_every_route_of_the_gateway_is_in_the_document_and_the_other_way_round(
    document: dict[str, Any],
) -> None:
    table = routes_of((await apps())["gateway"])
    pages = {(method, path) for method, path in table if PARTS_OF_PAGES.fullmatch(path)}
    views = {("GET", re.sub(r"{(\w+):[^}]*}", r"{\1}", path)) for path in VIEWS}
    assert {(method, path) for method, path, _ in operations_of(document)} == table - pages - views - {
        ("GET", "/metrics")
    }


async def test_every_route_of_a_service_is_described_and_forwarded_and_the_other_way_round(
    world: World, document: dict[str, Any]
) -> None:
    forwarded: set[Route] = set()
    for name, app in (await apps()).items():
        if name != "gateway":
            base = world.stack.described()["services"][name]["url"]
            async with world.session.get(f"{base}/openapi.json") as response:
                described = {(method, path) for method, path, _ in operations_of(await response.json())}
            assert described == routes_of(app) - OPERATORS, name
            assert not described & forwarded, name
            forwarded |= described
    assert forwarded == {(method, path) for method, path, operation in operations_of(document) if operation["security"]}


async def test_what_two_services_call_by_one_name_is_one_shape(world: World) -> None:
    seen: dict[str, Any] = {}
    for name, service in world.stack.described()["services"].items():
        if name != "gateway":
            async with world.session.get(f"{service['url']}/openapi.json") as response:
                told = await response.json()
            OpenAPIV31SpecValidator(told).validate()
            for shape, schema in told["components"]["schemas"].items():
                assert seen.setdefault(shape, schema) == schema, (name, shape)


def test_every_operation_tells_its_errors_with_examples_and_headers(document: dict[str, Any]) -> None:
    everywhere = {"200", "400"}
    for method, path, operation in operations_of(document):
        about = f"{method} {path}"
        assert operation["summary"], about
        assert operation["description"], about
        schemes = {scheme for requirement in operation["security"] for scheme in requirement}
        expected = {
            frozenset({"bearer"}): everywhere | {"401", "403", "414", "429", "431", "500", "502", "503", "504"},
            frozenset({"telnyxSignature", "telnyxTimestamp"}): everywhere | {"401", "413", "414", "431", "500", "503"},
            frozenset(): set(),
        }[frozenset(schemes)]
        assert expected <= operation["responses"].keys(), about
        assert ("404" in operation["responses"]) == ("{" in path), about
        for status, response in operation["responses"].items():
            assert response["description"], about
            assert "X-Request-ID" in response["headers"], about
            assert ("Retry-After" in response["headers"]) == (status in {"429", "503", "504"}), about
            assert ("WWW-Authenticate" in response["headers"]) == (status == "401" and "bearer" in schemes), about
            assert ("content" in response) == (status != "304"), about
        if "analytics" in path:
            assert {"ETag", "Age", "X-Cache", "Vary"} <= operation["responses"]["304"]["headers"].keys()
            assert operation["responses"]["200"]["headers"].keys() >= operation["responses"]["304"]["headers"].keys()
        if "bearer" in schemes:
            limited = {status for status, each in operation["responses"].items() if "RateLimit" in each["headers"]}
            assert {"200", "403"} <= limited <= {"200", "304", "403", "404"}, about


def test_every_example_is_as_its_schema_says(document: dict[str, Any]) -> None:
    checked = 0
    for method, path, operation in operations_of(document):
        contents = [response["content"] for response in operation["responses"].values() if "content" in response]
        if "requestBody" in operation:
            contents.append(operation["requestBody"]["content"])
        for content in contents:
            for media in content.values():
                checked += check(document, media, f"{method} {path}")
        for parameter in operation["parameters"]:
            if "schema" in parameter:
                check(document, parameter, f"{method} {path} {parameter['name']}", needed=False)
    for name, header in document["components"]["headers"].items():
        Draft202012Validator(header["schema"]).validate(header["example"])
        assert header["description"], name
    assert checked > 60


def check(document: dict[str, Any], described: dict[str, Any], about: str, *, needed: bool = True) -> int:
    validator = Draft202012Validator({**described["schema"], "components": document["components"]})
    examples = [example["value"] for example in described.get("examples", {}).values()]
    examples += [described["example"]] if "example" in described else []
    assert examples or not needed, about
    for example in examples:
        validator.validate(example)
    return len(examples)


async def test_the_page_shows_the_document_with_nothing_of_another_host(world: World) -> None:
    base = world.stack.base_url
    async with world.session.get(f"{base}/api/docs") as response:
        page = await response.text()
        policy = response.headers["Content-Security-Policy"]
    assert response.status == 200
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy
    parts = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert len(parts) >= 5
    for part in parts:
        assert part == "data:," or part.startswith("/api/"), part
        if part.startswith("/api/"):
            async with world.session.get(base + part, headers={"Accept-Encoding": "br"}) as response:
                assert response.status == 200, part
                assert await response.read(), part
                tag = response.headers["ETag"]
            fresh = {"Accept-Encoding": "br", "If-None-Match": tag}
            async with world.session.get(base + part, headers=fresh) as response:
                assert (response.status, await response.read()) == (304, b""), part
    assert "<script>" not in page
    assert "style=" not in page


@pytest.mark.timeout(SCHEMATHESIS_SECONDS + 20)
async def test_schemathesis_finds_nothing_that_differs_from_the_document(
    world: World, document: dict[str, Any], tmp_path: Path
) -> None:
    (customer,) = await world.customer(limits=dict.fromkeys(AreaName, 1_000_000))
    # Each with a recording: whichever call is asked for, there is one to be shown.
    calls = [call for call in world.calls_of(customer, count=30) if call.recorded][:5]
    await world.send(planned(calls))

    async def shown() -> bool:
        return bool((await world.get("/api/conversations", customer)).body["total"] == len(calls))

    await until(shown)
    run = await asyncio.create_subprocess_exec(
        Path(sys.executable).with_name("schemathesis"),
        *("run", f"{world.stack.base_url}/api/openapi.json", "--checks", "all"),
        *("--header", f"Authorization: Bearer {customer.token}"),
        *("--generation-deterministic", "--max-examples", "5", "--report-har-path", "run.har", "--no-color"),
        cwd=tmp_path,
        env={
            **os.environ,
            "PYTHONPATH": str(Path(__file__).parents[1]),
            "SCHEMATHESIS_HOOKS": "schema_hooks",
            "TELNYX_KEY": world.stack.directory.keys().telnyx,
        },
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(SCHEMATHESIS_SECONDS):
        said, _ = await run.communicate()
    assert run.returncode == 0, said.decode()
    seen = statuses_of(json.loads((tmp_path / "run.har").read_text()), document)
    for _, path, operation in operations_of(document):
        schemes = {scheme for requirement in operation["security"] for scheme in requirement}
        expected = {200, 400, 401, 405} if schemes else {200, 405}
        assert expected <= seen[path] or path == "/api/openapi.json", path  # which is only read


def statuses_of(har: dict[str, Any], document: dict[str, Any]) -> dict[str, set[int]]:
    """Give the statuses that were answered, by path of the document."""
    patterns = {path: re.compile(re.sub(r"{\w+}", "[^/]+", path)) for path in document["paths"]}
    seen: dict[str, set[int]] = {path: set() for path in patterns}
    for entry in har["log"]["entries"]:
        target = urlsplit(entry["request"]["url"]).path
        for path, pattern in patterns.items():
            if pattern.fullmatch(target):
                seen[path].add(entry["response"]["status"])
    return seen
