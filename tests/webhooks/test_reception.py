from __future__ import annotations

import gzip
import json
import time
import zlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import brotli  # type: ignore[import-untyped]
import pytest
from webhooks_factories import CONVERSATIONAL_AI, T0, VOICE, Service, Signer, body_of, event, until

from voice_common.store.tenants import Claim, ClaimKind, Tenant, TenantStore
from voice_webhooks.signature import raw_key, read_signed
from voice_webhooks.verifier import Check, is_good

SHARED = Path(__file__).parents[3] / "shared" / "telnyx"
needs_samples = pytest.mark.skipif(not SHARED.is_dir(), reason="Telnyx's sample payloads are not beside the project")


async def stored(service: Service) -> int:
    return await service.database["events"].count_documents({})


@pytest.mark.parametrize("path", [VOICE, CONVERSATIONAL_AI])
async def test_a_signed_event_is_stored_as_its_bytes_came_and_accepted(service: Service, path: str) -> None:
    body = (
        b' {"data": {"event_type":"call.initiated","id":"e1","payload":{"connection_id":1001,"call_session_id":"s1"}}}'
    )
    response = await service.post(body, path=path)
    assert (response.status, await response.json()) == (200, {"status": "accepted"})
    document = await service.database["events"].find_one({})
    assert document is not None
    assert document["_id"] == {"tenant": "acme", "stream": "session:s1", "event": "e1"}
    assert document["body"] == body
    assert document["key"] == service.signer.public_key


async def test_a_duplicate_delivery_is_stored_once(service: Service) -> None:
    once = event("call.answered", connection_id="1001", call_session_id="s1")
    assert await service.status(once) == "accepted"
    assert await service.status(once) == "duplicate"
    again = {**once, "meta": {"attempt": 2}}
    assert await service.status(again) == "duplicate"
    assert await stored(service) == 1


async def test_one_event_id_in_two_calls_is_two_events(service: Service) -> None:
    assert (
        await service.status(event("call.answered", id="e", connection_id="1001", call_session_id="s1")) == "accepted"
    )
    assert (
        await service.status(event("call.answered", id="e", connection_id="1001", call_session_id="s2")) == "accepted"
    )
    assert await stored(service) == 2


async def test_a_type_that_is_not_known_is_kept_under_its_name(service: Service) -> None:
    assert await service.status(event("call.teleported", connection_id="1001", call_session_id="s1")) == "accepted"
    document = await service.database["events"].find_one({})
    assert document is not None
    assert document["type"] == "call.teleported"


async def test_fields_at_the_top_are_read_as_if_under_data(service: Service) -> None:
    top = event("call.initiated", connection_id="1001", call_session_id="s1")["data"]
    assert await service.status(top) == "accepted"


@pytest.mark.parametrize("seconds", [-301, 301])
async def test_a_timestamp_out_of_tolerance_is_refused_and_nothing_is_stored(service: Service, seconds: int) -> None:
    good = event("call.initiated", connection_id="1001", call_session_id="s1")
    response = await service.post(good, timestamp=int(time.time()) + seconds)
    assert response.status == 401
    assert await response.json() == {"error": "Invalid webhook signature"}
    assert await stored(service) == 0
    assert await service.database["quarantine"].count_documents({}) == 0


@pytest.mark.parametrize("seconds", [-295, 295])
async def test_a_timestamp_in_tolerance_is_accepted(service: Service, seconds: int) -> None:
    good = event("call.initiated", connection_id="1001", call_session_id="s1")
    response = await service.post(good, timestamp=int(time.time()) + seconds)
    assert response.status == 200


async def test_a_signature_that_is_missing_malformed_or_wrong_is_refused(service: Service) -> None:
    body = body_of(event("call.initiated", connection_id="1001", call_session_id="s1"))
    good = service.signer.headers(body)
    flaws: list[dict[str, str]] = [
        {},
        {"telnyx-timestamp": good["telnyx-timestamp"]},
        {"telnyx-signature-ed25519": good["telnyx-signature-ed25519"]},
        {**good, "telnyx-signature-ed25519": "not base64!"},
        {**good, "telnyx-signature-ed25519": "AAAA"},
        {**good, "telnyx-timestamp": "soon"},
        {**good, "telnyx-timestamp": str(int(good["telnyx-timestamp"]) - 1)},
        Signer().headers(body),
        service.signer.headers(body + b" "),
    ]
    for headers in flaws:
        response = await service.post(body, headers=headers)
        assert (response.status, await response.json()) == (401, {"error": "Invalid webhook signature"}), headers
    assert await stored(service) == 0
    assert await service.database["quarantine"].count_documents({}) == 0


async def test_a_request_that_did_not_come_through_the_gateway_is_refused(service: Service) -> None:
    body = body_of(event("call.initiated", connection_id="1001", call_session_id="s1"))
    response = await service.client.post(VOICE, data=body, headers=service.signer.headers(body))
    assert response.status == 401
    assert await stored(service) == 0


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"no json",
        b"[]",
        b'{"data": {"id": "e1"}}',
        b'{"data": {"event_type": "call.initiated"}}',
        b'{"data": NaN}',
        b"\xff",
    ],
)
async def test_a_signed_body_that_cannot_be_read_is_a_400_and_kept(service: Service, body: bytes) -> None:
    response = await service.post(body)
    assert response.status == 400
    assert list(await response.json()) == ["error"]
    kept = await service.database["quarantine"].find_one({})
    assert kept is not None
    assert kept["body"] == body
    assert kept["reason"]


async def test_an_unsigned_body_that_cannot_be_read_is_a_401_and_not_kept(service: Service) -> None:
    response = await service.post(b"no json", signer=Signer())
    assert response.status == 401
    assert await service.database["quarantine"].count_documents({}) == 0


@pytest.mark.parametrize("text", [r'"\ud800"', '"' + "x" * 100_000 + '"', "[" * 500 + "]" * 500, "1e400", "-0"])
async def test_odd_json_is_accepted_and_projected(service: Service, text: str) -> None:
    body = (
        '{"data": {"event_type": "ai.assistant.tool_call", "id": "e1", "payload": {"connection_id": "1001",'
        f'"call_session_id": "s1", "name": {text}, "arguments": {text}, "duration_ms": {text}, "status": {text}}}}}}}'
    ).encode()
    response = await service.post(body)
    assert response.status in {200, 400}
    if response.status == 200:
        await until(lambda: service.conversation("s1"))
        assert await service.database["set_aside"].count_documents({}) == 0


async def test_a_chunked_body_over_a_mebibyte_is_a_413(service: Service) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(32):
            yield b"x" * 65536

    response = await service.client.post(VOICE, data=chunks(), headers=service.identity())
    assert response.status == 413
    assert list(await response.json()) == ["error"]


async def test_a_tenant_with_keys_of_its_own_is_verified_by_those_alone(service: Service, tenants: TenantStore) -> None:
    own = Signer()
    await tenants.create(
        Tenant("keyed", "Keyed", telnyx_public_keys=(own.public_key,), claims=(Claim(ClaimKind.CONNECTION, "2002"),))
    )
    hers = event("call.initiated", connection_id="2002", call_session_id="s1")
    assert (await service.post(hers)).status == 401
    assert await service.status(hers, signer=own) == "accepted"


async def test_the_connection_counts_before_the_assistant_and_the_assistant_before_the_number(
    service: Service, tenants: TenantStore
) -> None:
    await tenants.create(Tenant("by-assistant", "A", claims=(Claim(ClaimKind.ASSISTANT, "assistant-1"),)))
    await tenants.create(Tenant("by-number", "N", claims=(Claim(ClaimKind.NUMBER, "+13125550100"),)))
    every: dict[str, Any] = {
        "connection_id": "1001",
        "assistant_id": "assistant-1",
        "direction": "incoming",
        "to": "+13125550100",
    }
    for dropped, owner in (
        ((), "acme"),
        (("connection_id",), "by-assistant"),
        (("connection_id", "assistant_id"), "by-number"),
    ):
        said = {name: value for name, value in every.items() if name not in dropped}
        await service.status(event("call.initiated", call_session_id=f"of-{owner}", **said))
        document = await service.database["events"].find_one({"_id.stream": f"session:of-{owner}"})
        assert document is not None
        assert document["_id"]["tenant"] == owner


@pytest.mark.parametrize(
    ("payload", "status"),
    [
        ({"direction": "incoming", "to": "+13125550100", "from": "+1"}, "accepted"),
        ({"direction": "outgoing", "from": "+13125550100", "to": "+1"}, "accepted"),
        ({"direction": "incoming", "from": "+13125550100", "to": "+1"}, "quarantined"),
        ({"direction": "outgoing", "to": "+13125550100", "from": "+1"}, "quarantined"),
        ({"from": "+13125550100", "to": "+13125550100"}, "quarantined"),
    ],
)
async def test_a_number_counts_on_the_tenants_side_of_a_call_whose_direction_is_said(
    service: Service, tenants: TenantStore, payload: dict[str, Any], status: str
) -> None:
    await tenants.create(Tenant("by-number", "N", claims=(Claim(ClaimKind.NUMBER, "+13125550100"),)))
    assert await service.status(event("call.initiated", call_session_id="s1", **payload)) == status


@pytest.mark.parametrize(
    "to",
    [
        "sip:desk@Sip.Example.com",
        "SIP:desk@sip.example.com:5060;transport=tls",
        "<sips:desk@sip.example.com;user=phone>",
        '"Front desk" <sip:desk@sip.example.com?subject=x>',
        "desk@sip.example.com",
    ],
)
async def test_a_sip_address_matches_its_claim_however_it_is_sent(
    service: Service, tenants: TenantStore, to: str
) -> None:
    await tenants.create(Tenant("desk", "Desk", claims=(Claim(ClaimKind.NUMBER, "sip:desk@sip.example.com"),)))
    said = event("call.initiated", call_session_id="s1", direction="incoming", to=to)
    assert await service.status(said) == "accepted"


async def test_a_claim_of_a_sip_address_that_older_code_stored_goes_on_to_count(
    service: Service, tenants: TenantStore
) -> None:
    await tenants.create(Tenant("desk", "Desk", claims=(Claim(ClaimKind.NUMBER, "sip:frontdesk@sipexamplecom"),)))
    said = event("call.initiated", call_session_id="s1", direction="incoming", to="sip:front-desk@sip.example.com")
    assert await service.status(said) == "accepted"


@pytest.mark.parametrize("caller", ["anonymous", "Restricted", "+266696687", "sip:anonymous@anonymous.invalid"])
async def test_a_withheld_number_is_nobodys_even_where_older_code_let_it_be_claimed(
    service: Service, tenants: TenantStore, caller: str
) -> None:
    await tenants.create(Tenant("by-word", "W", claims=(Claim(ClaimKind.NUMBER, caller),)))
    said: dict[str, Any] = {"call_session_id": "s1", "direction": "outgoing", "from": caller}
    assert await service.status(event("call.initiated", **said)) == "quarantined"
    assert [claim.value for claim in (await tenants.get("by-word")).claims] == [caller]


async def test_a_new_claim_counts_at_once_for_what_nobody_had_claimed(service: Service, tenants: TenantStore) -> None:
    assert await service.status(event("call.initiated", connection_id="3003", call_session_id="s1")) == "quarantined"
    await tenants.create(Tenant("new", "New", claims=(Claim(ClaimKind.CONNECTION, "3003"),)))
    assert await service.status(event("call.answered", connection_id="3003", call_session_id="s1")) == "accepted"


async def test_an_event_without_claims_goes_to_the_conversation_that_shares_an_id(service: Service) -> None:
    await service.status(event("call.initiated", connection_id="1001", call_session_id="s1", call_leg_id="l1"))
    await until(lambda: service.conversation("s1"))
    assert await service.status(event("call.cost", call_leg_id="l1")) == "accepted"
    assert await service.status(event("call.bridged", call_session_id="s1")) == "accepted"


async def test_a_key_that_did_not_verify_a_conversation_adds_nothing_to_it(
    service: Service, tenants: TenantStore
) -> None:
    await service.status(event("call.initiated", connection_id="1001", call_session_id="s1", call_leg_id="l1"))
    await until(lambda: service.conversation("s1"))
    own = Signer()
    await tenants.create(Tenant("keyed", "Keyed", telnyx_public_keys=(own.public_key,)))
    assert await service.status(event("call.hangup", call_session_id="s1"), signer=own) == "quarantined"


@needs_samples
async def test_every_sample_of_telnyx_is_accepted_and_kept_when_its_ids_are_claimed(
    service: Service, tenants: TenantStore
) -> None:
    samples = [json.loads(path.read_text()) for path in sorted((SHARED / "samples").glob("*.json"))]
    connections = {
        sample["data"]["payload"]["connection_id"] for sample in samples if "connection_id" in sample["data"]["payload"]
    }
    await tenants.create(
        Tenant("claims-all", "All", claims=tuple(Claim(ClaimKind.CONNECTION, connection) for connection in connections))
    )
    statuses = {}
    for number, sample in enumerate(samples):
        sample["data"]["id"] = f"sample-{number}"
        statuses[sample["data"]["event_type"]] = await service.status(sample)
    assert len(statuses) > 40
    unclaimed = {sample["data"]["event_type"] for sample in samples if "connection_id" not in sample["data"]["payload"]}
    assert {kind for kind, status in statuses.items() if status != "accepted"} <= unclaimed
    assert await stored(service) == sum(status == "accepted" for status in statuses.values())


@needs_samples
def test_the_fixed_signature_vector_verifies() -> None:
    vector = json.loads((SHARED / "signature_test_vector.json").read_text())
    timestamp = vector["telnyx-timestamp"]
    signed = read_signed(
        vector["raw_body"].encode(), vector["telnyx-signature-ed25519"], timestamp, now=float(timestamp)
    )
    assert is_good(Check(raw_key(vector["public_key_b64"]), signed))
    assert not is_good(Check(raw_key(Signer().public_key), signed))


async def test_a_call_shows_in_its_conversation_within_a_second(service: Service) -> None:
    ids = {"connection_id": "1001", "call_session_id": "s1", "call_leg_id": "l1"}
    await service.status(event("call.initiated", T0, direction="incoming", to="+1", **ids, **{"from": "+2"}))
    await service.status(event("call.answered", T0 + 1000, **ids))
    await service.status(event("call.hangup", T0 + 61_500, hangup_cause="normal_clearing", **ids))

    async def completed() -> bool:
        document = await service.conversation("s1")
        return document is not None and document["phase"] == "completed"

    await until(completed, seconds=1.0)
    document = await service.conversation("s1")
    assert document is not None
    assert document["duration_ms"] == 60_500
    assert (document["direction"], document["from"], document["to"]) == ("inbound", "+2", "+1")


CODED: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "x-gzip": gzip.compress,
    "GZIP": lambda body: gzip.compress(body[:9]) + gzip.compress(body[9:]),
    "deflate": zlib.compress,
    "br": brotli.compress,
    "identity": bytes,
    "gzip, br": lambda body: brotli.compress(gzip.compress(body)),
}


async def coded(service: Service, coding: str, body: bytes, *, signer: Signer | None = None) -> tuple[int, Any]:
    """Send a body as it is, under a content coding; signed as it is sent."""
    signed = (signer or service.signer).headers(body)
    response = await service.post(body, headers={**signed, "Content-Encoding": coding})
    return response.status, await response.json()


@pytest.mark.parametrize("coding", CODED)
async def test_a_coded_body_is_verified_as_it_was_sent_and_stored_decoded(service: Service, coding: str) -> None:
    body = body_of(event("call.initiated", id="e1", connection_id="1001", call_session_id="s1"))
    assert await coded(service, coding, CODED[coding](body)) == (200, {"status": "accepted"})
    assert await service.status(body) == "duplicate"
    document = await service.database["events"].find_one({})
    assert document is not None
    assert document["body"] == body


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd", "nothing-known", "gzip, gzip"])
async def test_a_body_that_is_not_of_its_coding_is_a_401_unsigned_and_kept_with_the_reason_when_it_is_signed(
    service: Service, coding: str
) -> None:
    body = body_of(event("call.initiated", connection_id="1001", call_session_id="s1"))
    refused = {"error": "Invalid webhook signature"}
    assert await coded(service, coding, body, signer=Signer()) == (401, refused)
    response = await service.post(body, headers={"Content-Encoding": coding})
    assert (response.status, await response.json()) == (401, refused)
    assert await service.database["quarantine"].count_documents({}) == 0
    status, answer = await coded(service, coding, body)
    assert status == 400
    (held,) = await service.database["quarantine"].find({}).to_list()
    assert held["body"] == body
    assert held["reason"] in answer["error"]
    assert "coding" in held["reason"] or coding.partition(",")[0] in held["reason"]


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br"])
async def test_a_coded_body_may_have_no_more_bytes_than_another(service: Service, coding: str) -> None:
    assert await coded(service, coding, CODED[coding](b" " * (1024 * 1024 + 1))) == (
        413,
        {"error": "Request body is too large"},
    )


async def test_what_is_coded_is_given_only_to_a_tenant_whose_key_signed_it(
    service: Service, tenants: TenantStore
) -> None:
    own = Signer()
    keyed = Tenant("keyed", "K", telnyx_public_keys=(own.public_key,), claims=(Claim(ClaimKind.CONNECTION, "7007"),))
    await tenants.create(keyed)
    body = gzip.compress(body_of(event("call.initiated", connection_id="7007", call_session_id="s7")))
    assert (await coded(service, "gzip", body))[0] == 401, "the system's key does not count for it"
    assert await coded(service, "gzip", body, signer=own) == (200, {"status": "accepted"})
