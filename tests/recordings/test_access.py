"""Who may ask: the gateway's signed identity, its scopes, and nobody else."""

from __future__ import annotations

import pytest
from recordings_factories import completed_call, identity_headers, put

from voice_common.identity import IDENTITY_HEADER
from voice_common.mongo import Database

from .conftest import Service

ROUTES = [
    ("recordings", "/api/voice/recordings/conv-123"),
    ("conversations", "/api/conversations"),
    ("conversations", "/api/conversations/conv-123"),
    ("conversations", "/api/conversations/conv-123/messages"),
]


@pytest.mark.parametrize(("area", "target"), ROUTES)
@pytest.mark.parametrize(
    "headers",
    [{}, {IDENTITY_HEADER: "forged"}, identity_headers(None), identity_headers(service="analytics")],
    ids=["none", "forged", "no tenant", "another service's"],
)
async def test_without_a_tenants_identity_it_is_a_401_of_the_area(
    service: Service, area: str, target: str, headers: dict[str, str]
) -> None:
    async with service.get(target, headers=headers) as answer:
        assert answer.status == 401
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")
        assert await answer.json() == {"error": f"Missing tenant context for {area} request"}


@pytest.mark.parametrize(("area", "target"), ROUTES)
async def test_without_the_areas_scope_it_is_a_403(service: Service, area: str, target: str) -> None:
    others = {"analytics:read", "recordings:read", "conversations:read"} - {f"{area}:read"}
    async with service.get(target, headers=identity_headers(scopes=others)) as answer:
        assert answer.status == 403
        assert await answer.json() == {"error": f"Token lacks scope {area}:read"}


@pytest.mark.parametrize(("_area", "target"), ROUTES)
async def test_another_method_is_a_405_with_allow(service: Service, _area: str, target: str) -> None:
    async with service.delete(target, headers=identity_headers()) as answer:
        assert answer.status == 405
        assert set(answer.headers["Allow"].split(",")) == {"GET", "HEAD"}
        assert await answer.json() == {"error": "Method not allowed"}


@pytest.mark.parametrize("target", ["", "/messages"])
async def test_head_answers_as_get_without_the_body(service: Service, database: Database, target: str) -> None:
    session = await put(database, completed_call())
    url = f"/api/conversations/{session}{target}"
    async with service.get(url, headers=identity_headers()) as full:
        length = full.headers["Content-Length"]
    async with service.head(url, headers=identity_headers()) as answer:
        assert answer.status == 200
        assert answer.headers["Content-Length"] == length
        assert await answer.read() == b""


@pytest.mark.parametrize("target", ["/api/conversations/", "/api/conversations/a/b", "/api/voice/recordings/", "/api"])
async def test_an_unknown_route_is_not_found(service: Service, target: str) -> None:
    async with service.get(target, headers=identity_headers()) as answer:
        assert (answer.status, await answer.json()) == (404, {"error": "Not found"})
