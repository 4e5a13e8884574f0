"""A webhook is answered, logged and counted alike by the front and by the application behind it."""

from __future__ import annotations

import re

import pytest
from aiohttp import ClientResponse
from webhooks_factories import VOICE, Service, Signer, event

AROUND = f"{VOICE}?by=the-application"
FIXED = {"date", "x-request-id", "content-length"}


def fixed(response: ClientResponse) -> dict[str, str]:
    return {name.lower(): value for name, value in response.headers.items() if name.lower() not in FIXED}


@pytest.mark.parametrize(
    ("body", "by", "status"),
    [(event("call.initiated"), None, 200), (b"not JSON", None, 400), (event("call.answered"), Signer(), 401)],
)
async def test_the_front_answers_as_the_application_does(
    service: Service, body: dict[str, object] | bytes, by: Signer | None, status: int
) -> None:
    front = await service.post(body, signer=by)
    around = await service.post(body, signer=by, path=AROUND)
    assert (front.status, around.status) == (status, status)
    assert fixed(front) == fixed(around)
    assert (await front.json()).keys() == (await around.json()).keys()


@pytest.mark.parametrize("path", [VOICE, AROUND])
async def test_only_the_gateway_is_heard(service: Service, path: str) -> None:
    body = b"{}"
    answer = await service.client.post(path, data=body, headers=service.signer.headers(body))
    assert (answer.status, await answer.json()) == (401, {"error": "Missing tenant context for webhooks request"})


async def test_a_request_keeps_its_id_and_is_measured_once_by_either_way(service: Service) -> None:
    async def counted() -> float:
        text = await (await service.client.get("/metrics")).text()
        found = re.findall(rf'^voice_http_requests_total{{.*route="{VOICE}".*}} (\S+)$', text, re.MULTILINE)
        return sum(map(float, found))

    before = await counted()
    for path in (VOICE, AROUND):
        signed = service.signer.headers(b"{}") | {"X-Request-ID": "the-clients-own"}
        answer = await service.post(b"{}", path=path, headers=signed)
        assert answer.headers["X-Request-ID"] == "the-clients-own"
    assert await counted() == before + 2
