"""What must be refused is refused as the contract says; nothing of it is stored, nothing is leaked."""

from __future__ import annotations

import base64
import json
import time
import uuid
from collections.abc import AsyncIterator

import pytest
from e2e_factories import Customer, World
from nacl.signing import SigningKey

from voice_local.simulation.delivery import Signer

VOICE = "/api/webhooks/telnyx/voice"


def event_of(customer: Customer) -> bytes:
    payload = {"call_session_id": str(uuid.uuid4()), "connection_id": customer.tenant.claims[0].value}
    return json.dumps({"data": {"event_type": "call.answered", "id": str(uuid.uuid4()), "payload": payload}}).encode()


async def stored(world: World) -> tuple[int, int]:
    return (
        await world.database["events"].count_documents({}),
        await world.database["quarantine"].count_documents({}),
    )


def signed_at(world: World, body: bytes, moment: int, key: SigningKey | None = None) -> dict[str, str]:
    key = key or SigningKey(base64.b64decode(world.stack.directory.keys().telnyx))
    signature = key.sign(f"{moment}|".encode() + body).signature
    return {"telnyx-timestamp": str(moment), "telnyx-signature-ed25519": base64.b64encode(signature).decode()}


@pytest.mark.parametrize("path", [VOICE, f"{VOICE}/conversational-ai"])
@pytest.mark.parametrize("fault", ["foreign key", "none", "malformed", "old", "early", "changed body"])
async def test_a_webhook_that_is_not_telnyxs_is_refused_and_not_stored(world: World, path: str, fault: str) -> None:
    (customer,) = await world.customer()
    body, now = event_of(customer), int(time.time())
    headers = {
        "foreign key": signed_at(world, body, now, SigningKey.generate()),
        "none": {},
        "malformed": {"telnyx-timestamp": str(now), "telnyx-signature-ed25519": "not base64"},
        "old": signed_at(world, body, now - 330),
        "early": signed_at(world, body, now + 330),
        "changed body": signed_at(world, body + b" ", now),
    }[fault]
    before = await stored(world)
    async with world.session.post(world.stack.base_url + path, data=body, headers=headers) as response:
        assert response.status == 401
        assert await response.json() == {"error": "Invalid webhook signature"}
    assert await stored(world) == before


async def test_a_chunked_body_of_2_mib_is_cut_off_at_the_limit(world: World) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(32):
            yield b" " * 65_536

    before = await stored(world)
    headers = Signer(world.stack.directory.keys().telnyx).headers(b"")
    async with world.session.post(world.stack.base_url + VOICE, data=chunks(), headers=headers) as response:
        assert response.status == 413
        assert (await response.json()).keys() == {"error"}
    assert await stored(world) == before


async def test_a_signed_body_that_is_no_event_is_a_400(world: World) -> None:
    signer = Signer(world.stack.directory.keys().telnyx)
    for body in (b"not json", b"{}", b'{"data":{"id":"1"}}'):
        async with world.session.post(
            world.stack.base_url + VOICE, data=body, headers=signer.headers(body)
        ) as response:
            assert response.status == 400
            assert (await response.json()).keys() == {"error"}


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("start_date=yesterday", "start_date"),
        ("start_date=2025-02-30", "start_date"),
        ("end_date=", "end_date"),
        ("start_date=2025-02-01&end_date=2025-01-01", "start_date"),
        ("start_date=1969-12-31", "start_date"),
        ("limit=3", "limit"),
        ("start_date=2025-01-01&start_date=2025-01-01", "start_date"),
        ("start_date[$gt]=", "start_date[$gt]"),
        ("start_date%5B%24ne%5D=1", "start_date[$ne]"),
        ("start_date=2025-01-01'%20OR%201=1--", "start_date"),
        ('start_date={"$gt":""}', "start_date"),
    ],
)
async def test_a_bad_query_is_a_400_that_names_it(world: World, query: str, named: str) -> None:
    (customer,) = await world.customer()
    for route in ("overview", "detailed", "timeline"):
        answer = await world.get(f"/api/voice/analytics/{route}?{query}", customer)
        assert answer.status == 400
        assert answer.body.keys() == {"error"}
        assert named in answer.body["error"]


@pytest.mark.parametrize(
    "path",
    [
        "/api/voice/analytics/timeline?bucket=week",
        "/api/conversations?status[$ne]=active",
        "/api/conversations?status=anything",
        "/api/conversations?limit=0",
        "/api/conversations?limit=201",
        "/api/conversations/%7B%22$gt%22:%22%22%7D",
        "/api/voice/recordings/a%20b",
    ],
)
async def test_other_bad_requests_are_a_400(world: World, path: str) -> None:
    (customer,) = await world.customer()
    answer = await world.get(path, customer)
    assert answer.status == 400
    assert answer.body.keys() == {"error"}


async def test_an_unknown_route_and_a_wrong_method_answer_as_the_contract_says(world: World) -> None:
    (customer,) = await world.customer()
    assert (await world.get("/api/nothing", customer)).body == {"error": "Not found"}
    async with world.session.delete(world.stack.base_url + "/api/conversations") as response:
        assert response.status == 405
        assert "GET" in response.headers["Allow"]
