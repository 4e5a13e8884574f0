from __future__ import annotations

import asyncio
import time

from gateway_factories import CONVERSATIONS, OVERVIEW, Clock, Gateway, RunGateway, Services, make_tenant, make_token
from structlog.testing import capture_logs

from voice_common.mongo import Database
from voice_common.store.tenants import TenantStore
from voice_gateway.tokens import TokenStore, digest_of
from voice_local.servers import free_port

AREAS = {OVERVIEW: "analytics", CONVERSATIONS: "conversations", "/api/voice/recordings/x": "recordings"}


MALFORMED = [
    "Bearer", "Bearer ", "Basic dXNlcjpwYXNz", "Bearer vst_short", "Bearer not-a-token", "vst_" + "a" * 43,
    "Bearer vst_" + "a" * 43, "Bearer vst_" + "a" * 43 + " extra", "Bearer\tvst_" + "a" * 43, "Bearer a.b.c",
    "Bearer vst_" + "a" * 4000, "Bearer vst_é" + "a" * 42, 'Bearer {"$ne":null}',
]  # fmt: skip


async def test_no_token_is_a_401_that_names_the_area(gateway: Gateway) -> None:
    for path, area in AREAS.items():
        for method in ("GET", "HEAD"):
            reply = await gateway.get(path, method=method)
            assert reply.status == 401
            assert reply.headers["WWW-Authenticate"] == "Bearer"
            assert reply.headers["Cache-Control"] == "private, no-store"
            if method == "GET":
                assert reply.json() == {"error": f"Missing tenant context for {area} request"}


async def test_a_bad_token_is_a_401_with_invalid_token(gateway: Gateway) -> None:
    for authorization in MALFORMED:
        reply = await gateway.get(OVERVIEW, headers={"Authorization": authorization})
        assert reply.status == 401, authorization
        assert reply.headers["WWW-Authenticate"] == 'Bearer error="invalid_token"', authorization
        assert reply.json() == {"error": "Missing tenant context for analytics request"}


async def test_the_scheme_is_read_whatever_its_case(gateway: Gateway, token: str) -> None:
    for scheme in ("bearer", "BEARER", "Bearer  "):
        assert (await gateway.get(OVERVIEW, headers={"Authorization": f"{scheme} {token}"})).status == 200


async def test_two_authorization_headers_are_malformed(gateway: Gateway, token: str) -> None:
    headers = [("Authorization", f"Bearer {token}"), ("Authorization", f"Bearer {token}")]
    async with gateway.session.get(gateway.url + OVERVIEW, headers=headers) as answer:
        assert answer.status == 401


async def test_a_good_token_without_the_scope_is_a_403(gateway: Gateway, database: Database, tenant: str) -> None:
    token = await make_token(database, tenant, ["recordings:read"])
    reply = await gateway.get(OVERVIEW, token)
    assert (reply.status, reply.json()) == (403, {"error": "Token lacks scope analytics:read"})


async def test_a_revoked_token_ends_within_four_seconds_and_an_expired_one_at_once(
    gateway: Gateway, database: Database, tenant: str, token: str, clock: Clock
) -> None:
    assert (await gateway.get(OVERVIEW, token)).status == 200
    await TokenStore(database).revoke(digest_of(token)[:16])
    clock.ahead += 4.0
    assert (await gateway.get(OVERVIEW, token)).status == 401
    expires = time.time() + 1
    brief = await make_token(database, tenant, expires_at=int(expires * 1000))
    assert (await gateway.get(OVERVIEW, brief)).status == 200
    await asyncio.sleep(expires - time.time() + 0.01)  # the token's own time, on the wall clock
    assert (await gateway.get(OVERVIEW, brief)).status == 401


async def test_a_deleted_tenants_token_ends_within_four_seconds(
    gateway: Gateway, database: Database, tenant: str, token: str, clock: Clock
) -> None:
    assert (await gateway.get(OVERVIEW, token)).status == 200
    await TenantStore(database).mark_deleted(tenant)
    clock.ahead += 4.0
    assert (await gateway.get(OVERVIEW, token)).status == 401


async def test_what_is_known_of_a_token_is_asked_once_for_all_who_wait(
    gateway: Gateway, database: Database, token: str
) -> None:
    await database.client.admin.command("ping")
    await database.command("profile", 2)
    replies = await asyncio.gather(*(gateway.get(OVERVIEW, token) for _ in range(20)))
    await database.command("profile", 0)
    assert {reply.status for reply in replies} == {200}
    found = database["system.profile"].find({"command.find": "api_tokens"})
    assert len([each async for each in found]) == 1


async def test_an_unknown_token_is_asked_for_once_in_a_while(gateway: Gateway, database: Database) -> None:
    await database.command("profile", 2)
    for _ in range(5):
        assert (await gateway.get(OVERVIEW, "vst_" + "u" * 43)).status == 401
    await database.command("profile", 0)
    assert await database["system.profile"].count_documents({"command.find": "api_tokens"}) == 1


async def test_a_failure_is_one_audit_line_and_no_token_is_stored_or_logged(
    gateway: Gateway, database: Database, token: str
) -> None:
    bad = "vst_" + "s" * 43
    with capture_logs() as logs:
        await gateway.get(OVERVIEW, token)
        await gateway.get(OVERVIEW, bad)
    (line,) = [each for each in logs if each["event"] == "authentication failed"]
    assert (line["area"], line["reason"], line["address"]) == ("analytics", "unknown", "127.0.0.1")
    assert token not in repr(logs)
    assert bad not in repr(logs)
    stored = [document async for document in database["api_tokens"].find()]
    assert token not in repr(stored)
    assert stored[0]["_id"] == digest_of(token)


async def test_a_missing_scope_is_one_audit_line_that_names_the_token_by_its_id(
    gateway: Gateway, database: Database, tenant: str
) -> None:
    token = await make_token(database, tenant, ["recordings:read"])
    with capture_logs() as logs:
        assert (await gateway.get(OVERVIEW, token)).status == 403
    (line,) = [each for each in logs if each["event"] == "scope refused"]
    named = {"area": "analytics", "scope": "analytics:read", "tenant": tenant, "token": digest_of(token)[:16]}
    assert named.items() <= line.items()
    assert line["address"] == "127.0.0.1"
    assert token not in repr(logs)
    metrics = await (await gateway.session.get(f"{gateway.ops_url}/metrics")).text()
    assert 'voice_gateway_auth_failures_total{area="analytics",reason="scope"}' in metrics


async def test_with_the_store_down_and_nothing_remembered_it_is_a_503(run_gateway: RunGateway, token: str) -> None:
    url = f"mongodb://127.0.0.1:{free_port()}/?replicaSet=rs0"
    async with run_gateway(mongo_url=url) as gateway:
        first = await gateway.get(OVERVIEW, token)
        assert (first.status, first.json()) == (503, {"error": "Service unavailable"})
        assert first.headers["Retry-After"] == "1"
        assert (await gateway.get(OVERVIEW)).status == 401
        ready = await gateway.get("/readyz")
        assert (ready.status, ready.json()) == (503, {"status": "unavailable"})
        assert (await gateway.get("/livez")).status == 200


async def test_services_get_a_signed_identity_and_none_of_the_clients(
    gateway: Gateway, services: Services, tenant: str, token: str
) -> None:
    forged = {
        "X-Voice-Identity": "forged", "X-Voice-Tenant": "other", "Cookie": "a=b", "X-Forwarded-For": "1.2.3.4",
        "X-Request-ID": "mine-1",
    }  # fmt: skip
    reply = await gateway.get(f"{CONVERSATIONS}?limit=3", token, forged)
    assert reply.headers["X-Request-ID"] == "mine-1"
    (seen,) = services.recordings.seen
    assert seen.identity is not None
    assert (seen.identity.tenant, seen.identity.request_id) == (tenant, "mine-1")
    assert "conversations:read" in seen.identity.scopes
    assert seen.headers.getall("X-Request-ID") == ["mine-1"]
    assert seen.headers["X-Forwarded-For"] == "127.0.0.1"
    for name in ("Authorization", "Cookie", "X-Voice-Tenant"):
        assert name not in seen.headers


async def test_a_new_tenants_first_token_works_at_once(gateway: Gateway, database: Database) -> None:
    for _ in range(3):
        token = await make_token(database, await make_tenant(database))
        assert (await gateway.get(OVERVIEW, token)).status == 200
