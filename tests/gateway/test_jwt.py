from __future__ import annotations

import base64
import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import jwt
import pytest
from aiohttp import web
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from gateway_factories import OVERVIEW, Clock, Gateway, RunGateway, make_tenant

from voice_common.mongo import Database
from voice_common.store.tenants import TenantStore
from voice_gateway.signing_keys import KeySet
from voice_local.servers import free_port

ISSUER, AUDIENCE = "https://issuer.example", "voice"
RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC = ec.generate_private_key(ec.SECP256R1())
ED = ed25519.Ed25519PrivateKey.generate()
OTHER = rsa.generate_private_key(public_exponent=65537, key_size=2048)


@dataclass
class Issuer:
    """A real JWKS server on loopback."""

    keys: list[dict[str, Any]] = field(default_factory=list)
    asked: int = 0
    down: bool = False
    url: str = ""

    async def handle(self, _request: web.Request) -> web.Response:
        self.asked += 1
        if self.down:
            return web.Response(status=500)
        return web.json_response({"keys": self.keys})


@pytest.fixture
async def issuer() -> AsyncIterator[Issuer]:
    made = Issuer(
        [jwk_of(RSA, "rsa"), jwk_of(EC, "ec"), jwk_of(ED, "ed"), {"kty": "oct", "k": "c2VjcmV0", "kid": "oct"}]
    )
    app = web.Application()
    app.router.add_get("/jwks", made.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    made.url = f"http://127.0.0.1:{port}/jwks"
    yield made
    await runner.cleanup()


def jwk_of(key: Any, kid: str) -> dict[str, Any]:
    if isinstance(key, rsa.RSAPrivateKey):
        made = jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key(), as_dict=True)
    elif isinstance(key, ec.EllipticCurvePrivateKey):
        made = jwt.algorithms.ECAlgorithm.to_jwk(key.public_key(), as_dict=True)
    else:
        made = jwt.algorithms.OKPAlgorithm.to_jwk(key.public_key(), as_dict=True)
    return {**made, "kid": kid, "use": "sig"}


@pytest.fixture
async def gateway(run_gateway: RunGateway, issuer: Issuer) -> AsyncIterator[Gateway]:
    async with run_gateway(jwt_jwks_url=issuer.url, jwt_issuer=ISSUER, jwt_audience=[AUDIENCE]) as made:
        await made.until_exact()
        yield made


def claims(tenant: str, **more: Any) -> dict[str, Any]:
    base = {
        "iss": ISSUER, "aud": AUDIENCE, "exp": int(time.time()) + 60, "tenant_id": tenant,
        "scope": "openid analytics:read",
    }  # fmt: skip
    return {name: value for name, value in (base | more).items() if value is not None}


def sign(payload: dict[str, Any], key: Any = RSA, algorithm: str = "RS256", kid: str | None = "rsa") -> str:
    return jwt.encode(payload, key, algorithm, headers={} if kid is None else {"kid": kid})


@pytest.mark.parametrize(("key", "algorithm", "kid"), [(RSA, "RS256", "rsa"), (EC, "ES256", "ec"), (ED, "EdDSA", "ed")])
async def test_a_good_jwt_of_each_algorithm_is_let_in(
    gateway: Gateway, tenant: str, key: Any, algorithm: str, kid: str
) -> None:
    reply = await gateway.get(OVERVIEW, sign(claims(tenant), key, algorithm, kid))
    assert reply.status == 200
    assert reply.headers["X-RateLimit-Remaining"] == "59"


async def test_scopes_are_the_words_of_scope(gateway: Gateway, tenant: str) -> None:
    reply = await gateway.get(OVERVIEW, sign(claims(tenant, scope="recordings:read")))
    assert (reply.status, reply.json()) == (403, {"error": "Token lacks scope analytics:read"})
    assert (await gateway.get(OVERVIEW, sign(claims(tenant, scope=None)))).status == 403


def _none(payload: dict[str, Any]) -> str:
    return jwt.encode(payload, None, "none")  # type: ignore[arg-type]


def _hmac_with_the_public_key(payload: dict[str, Any]) -> str:
    pem = RSA.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    head = base64.urlsafe_b64encode(json.dumps({"alg": "HS256", "kid": "rsa", "typ": "JWT"}).encode()).rstrip(b"=")
    body = base64.urlsafe_b64encode(json.dumps(payload).encode()).rstrip(b"=")
    import hashlib  # noqa: PLC0415 - for this forgery alone
    import hmac  # noqa: PLC0415 - for this forgery alone

    mac = hmac.new(pem, head + b"." + body, hashlib.sha256).digest()
    return b".".join([head, body, base64.urlsafe_b64encode(mac).rstrip(b"=")]).decode()


def _tampered(payload: dict[str, Any]) -> str:
    head, _, signature = sign(payload).split(".")
    body = base64.urlsafe_b64encode(json.dumps(payload | {"scope": "all"}).encode()).rstrip(b"=").decode()
    return f"{head}.{body}.{signature}"


FLAWS: dict[str, Any] = {
    "expired": lambda t: sign(claims(t, exp=int(time.time()) - 1)),
    "no exp": lambda t: sign(claims(t, exp=None)),
    "exp is no number": lambda t: sign(claims(t, exp="soon")),
    "exp is infinite": lambda t: sign(claims(t, exp=float("inf"))),
    "exp is huge": lambda t: sign(claims(t, exp=10**400)),
    "other issuer": lambda t: sign(claims(t, iss="https://evil.example")),
    "no issuer": lambda t: sign(claims(t, iss=None)),
    "other audience": lambda t: sign(claims(t, aud="other")),
    "no audience": lambda t: sign(claims(t, aud=None)),
    "not yet": lambda t: sign(claims(t, nbf=int(time.time()) + 60)),
    "no tenant": lambda t: sign(claims(t, tenant_id=None)),
    "unknown tenant": lambda t: sign(claims(f"no-{t}")),
    "tenant is an operator": lambda t: sign(claims(t, tenant_id={"$ne": None})),
    "scope is a list": lambda t: sign(claims(t, scope=["analytics:read"])),
    "other key": lambda t: sign(claims(t), OTHER),
    "unknown kid": lambda t: sign(claims(t), OTHER, kid="other"),
    "no kid among many": lambda t: sign(claims(t), kid=None),
    "kid of another kind": lambda t: sign(claims(t), RSA, "RS256", "ec"),
    "RS512": lambda t: sign(claims(t), RSA, "RS512"),
    "PS256": lambda t: sign(claims(t), RSA, "PS256"),
    "HMAC by a published secret": lambda t: sign(claims(t), "secret" * 10, "HS256", "oct"),
    "HMAC by the public key": lambda t: _hmac_with_the_public_key(claims(t)),
    "none": lambda t: _none(claims(t)),
    "tampered": lambda t: _tampered(claims(t)),
    "no signature": lambda t: sign(claims(t)).rsplit(".", 1)[0] + ".",
    "crit": lambda t: jwt.encode(claims(t), RSA, "RS256", headers={"kid": "rsa", "crit": ["x"], "x": 1}),
}


async def test_a_jwt_with_a_flaw_is_a_401(gateway: Gateway, tenant: str) -> None:
    for flaw, forge in FLAWS.items():
        reply = await gateway.get(OVERVIEW, forge(tenant))
        assert reply.status == 401, flaw
        assert reply.headers["WWW-Authenticate"] == 'Bearer error="invalid_token"', flaw
        assert reply.json() == {"error": "Missing tenant context for analytics request"}, flaw


async def test_a_jwt_of_a_new_tenant_works_at_once_and_of_a_deleted_one_ends(
    gateway: Gateway, database: Database, clock: Clock
) -> None:
    token = sign(claims("newcomer"))
    assert (await gateway.get(OVERVIEW, token)).status == 401
    await make_tenant(database, "newcomer")
    assert (await gateway.get(OVERVIEW, token)).status == 200
    await TenantStore(database).mark_deleted("newcomer")
    clock.ahead += 4
    assert (await gateway.get(OVERVIEW, token)).status == 401


async def test_a_new_key_is_found_at_once_and_asked_for_at_most_once_in_30_s(
    gateway: Gateway, issuer: Issuer, tenant: str
) -> None:
    before = issuer.asked
    issuer.keys.append(jwk_of(OTHER, "rotated"))
    assert (await gateway.get(OVERVIEW, sign(claims(tenant), OTHER, kid="rotated"))).status == 200
    assert issuer.asked == before + 1
    for n in range(5):
        assert (await gateway.get(OVERVIEW, sign(claims(tenant), OTHER, kid=f"unknown{n}"))).status == 401
    assert issuer.asked == before + 1


async def test_keys_are_kept_for_an_hour_while_their_server_is_down(issuer: Issuer, gateway: Gateway) -> None:
    clock = Clock()
    keys = KeySet(issuer.url, gateway.session, clock=clock)
    await keys._refreshed()
    issuer.down = True
    clock.ahead += 3500
    await keys._refreshed()
    assert (await keys.find("rsa")).algorithm == "RS256"
    clock.ahead += 200
    with pytest.raises(Exception, match="unavailable"):
        await keys.find("rsa")
    issuer.down = False
    clock.ahead += 31
    assert (await keys.find("rsa")).algorithm == "RS256"


async def test_without_any_keys_yet_a_jwt_is_a_503_and_api_tokens_work(
    run_gateway: RunGateway, tenant: str, token: str
) -> None:
    url = f"http://127.0.0.1:{free_port()}/jwks"
    async with run_gateway(jwt_jwks_url=url, jwt_issuer=ISSUER, jwt_audience=[AUDIENCE]) as gateway:
        assert (await gateway.get(OVERVIEW, sign(claims(tenant)))).status == 503
        assert (await gateway.get(OVERVIEW, token)).status == 200


async def test_a_public_key_and_another_claim_may_be_set_instead(run_gateway: RunGateway, tenant: str) -> None:
    pem = EC.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    chosen = {"jwt_public_key": pem.decode().replace("\n", "\\n"), "jwt_tenant_claim": "https://x/tenant"}
    async with run_gateway(**chosen, jwt_issuer=ISSUER, jwt_audience=["a", AUDIENCE]) as gateway:
        payload = claims(tenant, tenant_id=None) | {"https://x/tenant": tenant}
        assert (await gateway.get(OVERVIEW, sign(payload, EC, "ES256", None))).status == 200
        assert (await gateway.get(OVERVIEW, sign(payload, RSA, "RS256", None))).status == 401


async def test_without_jwt_settings_no_jwt_is_let_in(run_gateway: RunGateway, tenant: str) -> None:
    async with run_gateway() as gateway:
        assert (await gateway.get(OVERVIEW, sign(claims(tenant)))).status == 401
