"""Access tokens in the shapes in which identity providers issue them, by a real JWKS server and keys of our own."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Any

import jwt
import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import rsa
from gateway_factories import OVERVIEW, PRIVATE_KEY, RunGateway, make_tenant
from redis.asyncio import Redis
from structlog.testing import capture_logs
from voice_command import Voice

from voice_common.mongo import Database
from voice_gateway.jwt_failures import KEY as KEY_OF_FAILURE
from voice_local.servers import Server

KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
API = "https://api.example.com"
READ = "analytics:read"


@pytest.fixture
async def jwks() -> AsyncIterator[str]:
    """Serve one RSA key without `alg`, as Entra ID does."""
    key = jwt.algorithms.RSAAlgorithm.to_jwk(KEY.public_key(), as_dict=True) | {"kid": "k", "use": "sig"}
    key.pop("key_ops", None)

    async def handle(_request: web.Request) -> web.Response:
        return web.json_response({"keys": [key]})

    app = web.Application()
    app.router.add_get("/jwks", handle)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}/jwks"
    await runner.cleanup()


def token_of(claims: dict[str, Any], algorithm: str = "RS256") -> str:
    now = int(time.time())
    return jwt.encode({"iat": now, "exp": now + 300, **claims}, KEY, algorithm, headers={"kid": "k", "typ": "at+jwt"})


PROVIDERS: dict[str, tuple[dict[str, str], dict[str, Any]]] = {
    "Okta": (
        {},
        {
            "ver": 1, "jti": "AT.x", "iss": "https://dev.example/oauth2/default", "aud": API, "cid": "0oa1",
            "uid": "00u1", "scp": ["openid", READ], "auth_time": 1700000000, "sub": "a@b.example", "tenant_id": "acme",
        },
    ),
    "Entra ID for a user": (
        {"jwt_tenant_claim": "tid"},
        {
            "aud": "api://voice", "iss": "https://login.example/72f9/v2.0", "aio": "x", "azp": "6e74", "azpacr": "0",
            "scp": f"{READ} recordings:read", "sub": "x", "tid": "72f988bf-86f1-41af-91ab-2d7cd011db47", "uti": "x",
            "ver": "2.0", "nbf": 1700000000,
        },
    ),
    "Entra ID for an application": (
        {"jwt_tenant_claim": "tid", "jwt_scope_claim": "roles"},
        {
            "aud": "api://voice", "iss": "https://login.example/72f9/v2.0", "azp": "6e74", "azpacr": "1",
            "idtyp": "app", "roles": [READ], "tid": "72f988bf-86f1-41af-91ab-2d7cd011db47", "ver": "2.0",
        },
    ),
    "Auth0": (
        {"jwt_tenant_claim": "https://app.example.com/tenant", "jwt_scope_claim": "permissions"},
        {
            "https://app.example.com/tenant": "acme", "iss": "https://x.eu.auth0.example/", "sub": "auth0|1",
            "aud": [API, "https://x.eu.auth0.example/userinfo"], "azp": "x", "scope": "openid profile",
            "permissions": [READ, "recordings:read"],
        },
    ),
    "Auth0 with an object under its namespace": (
        {"jwt_tenant_claim": "https://app.example.com/claims.org.id"},
        {"https://app.example.com/claims": {"org": {"id": "acme"}}, "iss": "https://x/", "aud": API, "scope": READ},
    ),
    "Keycloak": (
        {"jwt_tenant_claim": "organization.id"},
        {
            "jti": "x", "iss": "https://kc.example/realms/voice", "aud": [API, "account"], "sub": "x", "typ": "Bearer",
            "azp": "console", "sid": "x", "acr": "1", "realm_access": {"roles": ["offline_access"]},
            "scope": f"profile organization {READ}",
            "organization": {"acme-inc": {"id": "5f1e9b1e-7c0f-4f5e-9a63-0d3b6d3f8a11"}},
        },
    ),
    "Cognito": (
        {"jwt_tenant_claim": "custom:tenant_id", "jwt_scope_prefix": f"{API}/"},
        {
            "sub": "x", "iss": "https://cognito-idp.eu-west-1.example/eu-west-1_x", "version": 2, "client_id": "x",
            "token_use": "access", "scope": f"openid {API}/{READ}", "auth_time": 1700000000, "jti": "x",
            "aud": API, "custom:tenant_id": "acme",
        },
    ),
}  # fmt: skip
TENANTS = {
    "Entra ID for a user": "72f988bf-86f1-41af-91ab-2d7cd011db47",
    "Entra ID for an application": "72f988bf-86f1-41af-91ab-2d7cd011db47",
    "Keycloak": "5f1e9b1e-7c0f-4f5e-9a63-0d3b6d3f8a11",
}


@pytest.mark.parametrize("algorithm", ["RS256", "RS512", "PS256"])
@pytest.mark.parametrize("provider", PROVIDERS)
async def test_a_providers_token_is_accepted_as_it_is_issued(
    run_gateway: RunGateway, database: Database, jwks: str, provider: str, algorithm: str
) -> None:
    chosen, claims = PROVIDERS[provider]
    await make_tenant(database, TENANTS.get(provider, "acme"))
    audience = claims["aud"] if isinstance(claims["aud"], str) else claims["aud"][0]
    settings = chosen | {"jwt_jwks_url": jwks, "jwt_issuer": claims["iss"]}
    async with run_gateway(**settings, jwt_audience=[audience]) as gateway:
        reply = await gateway.get(OVERVIEW, token_of(claims, algorithm))
        assert reply.status == 200
        lacking = {name: said for name, said in claims.items() if name not in {"scp", "scope", "permissions", "roles"}}
        assert (await gateway.get(OVERVIEW, token_of(lacking, algorithm))).status == 403


LACKING = [
    ({"tenant_id": None}, "jwt_tenant_claim", "org.id"),
    ({"org": {"id": "acme", "x": 1}, "scp": 7}, "jwt_scope_claim", "scp"),
    ({"org": {"a": {"id": "acme"}, "b": {"id": "other"}}}, "jwt_tenant_claim", "org.id"),
    ({"aud": "other"}, "jwt_audience", "aud"),
]


@pytest.mark.parametrize(("said", "reason", "looked_for"), LACKING)
async def test_the_log_says_which_claim_was_looked_for(
    run_gateway: RunGateway, database: Database, jwks: str, said: dict[str, Any], reason: str, looked_for: str
) -> None:
    await make_tenant(database, "acme")
    settings = {"jwt_jwks_url": jwks, "jwt_issuer": "https://i", "jwt_tenant_claim": "org.id"}
    async with run_gateway(**settings, jwt_audience=[API]) as gateway:
        with capture_logs() as logs:
            assert (await gateway.get(OVERVIEW, token_of({"iss": "https://i", "aud": API} | said))).status == 401
    (line,) = [each for each in logs if each["event"] == "authentication failed"]
    assert (line["reason"], line["looked_for"]) == (reason, looked_for)


async def test_only_scopes_behind_the_set_prefix_count(run_gateway: RunGateway, database: Database, jwks: str) -> None:
    await make_tenant(database, "acme")
    settings = {"jwt_jwks_url": jwks, "jwt_issuer": "https://i", "jwt_scope_prefix": "voice/"}
    async with run_gateway(**settings, jwt_audience=[API]) as gateway:
        claims = {"iss": "https://i", "aud": API, "tenant_id": "acme"}
        assert (await gateway.get(OVERVIEW, token_of(claims | {"scope": f"voice/{READ}"}))).status == 200
        assert (await gateway.get(OVERVIEW, token_of(claims | {"scope": f"{READ} other/{READ}"}))).status == 403


async def test_the_doctor_says_which_claim_was_looked_for_and_nothing_of_the_token(
    run_gateway: RunGateway, database: Database, jwks: str, mongo_server: Server, redis_server: Server
) -> None:
    await make_tenant(database, "acme")
    settings = {"jwt_jwks_url": jwks, "jwt_issuer": "https://i", "jwt_tenant_claim": "org.id"}
    voice = Voice(
        {
            "VOICE_MONGO_URL": mongo_server.url,
            "VOICE_MONGO_DATABASE": database.name,
            "VOICE_REDIS_URL": redis_server.url,
            "VOICE_IDENTITY_PRIVATE_KEY": PRIVATE_KEY,
        }
    )
    token = token_of({"iss": "https://i", "aud": API, "org": {"name": "acme"}})
    async with run_gateway(**settings, jwt_audience=[API]) as gateway:
        await gateway.until_exact()
        assert (await gateway.get(OVERVIEW, token)).status == 401
        deadline = time.monotonic() + 20
        while True:
            findings = (await voice.json("doctor", "--service", "gateway"))["findings"]
            (found,) = (each for each in findings if each["check"] == "JWTs")
            if "the claim org.id was looked for" in found["message"]:
                break
            assert time.monotonic() < deadline, found
    assert found["outcome"] == "warning"
    assert token.rpartition(".")[2] not in str(found)
    async with Redis.from_url(redis_server.url) as redis:
        await redis.delete(KEY_OF_FAILURE)
