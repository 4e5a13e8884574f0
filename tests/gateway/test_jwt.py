from __future__ import annotations

import asyncio
import base64
import itertools
import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import jwt
import pytest
from aiohttp import web
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from gateway_factories import OVERVIEW, Clock, Gateway, RunGateway, make_tenant, make_token, until

from voice_common.mongo import Database
from voice_common.store.tenants import AreaName, TenantStore
from voice_gateway.jwts import LEEWAY_SECONDS
from voice_gateway.signing_keys import KeySet, UnknownKeyError
from voice_gateway.tokens import TokenStore, digest_of
from voice_local.servers import free_port

ISSUER, AUDIENCE = "https://issuer.example", "voice"
RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC = ec.generate_private_key(ec.SECP256R1())
ED = ed25519.Ed25519PrivateKey.generate()
OTHER = rsa.generate_private_key(public_exponent=65537, key_size=2048)
WEAK = rsa.generate_private_key(public_exponent=65537, key_size=1024)  # noqa: S505 - that is the flaw


@dataclass
class Issuer:
    """A real JWKS server on loopback."""

    keys: list[Any] = field(default_factory=list)
    asked: int = 0
    down: bool = False
    url: str = ""
    gate: asyncio.Event | None = None

    async def handle(self, _request: web.Request) -> web.Response:
        self.asked += 1
        if self.gate is not None:
            await self.gate.wait()
        if self.down:
            return web.Response(status=500)
        return web.json_response({"keys": self.keys})


@pytest.fixture
async def issuer() -> AsyncIterator[Issuer]:
    made = Issuer(
        [
            jwk_of(RSA, "rsa"),
            jwk_of(EC, "ec"),
            jwk_of(ED, "ed"),
            {"kty": "oct", "k": "c2VjcmV0", "kid": "oct"},
            jwk_of(OTHER, "enc") | {"use": "enc"},
            jwk_of(OTHER, "rs512") | {"alg": "RS512"},
            jwk_of(WEAK, "weak"),
        ]
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
    chosen = {"jwt_jwks_url": issuer.url, "jwt_issuer": ISSUER, "jwt_audience": [AUDIENCE]}
    async with run_gateway(**chosen, trusted_proxies=["127.0.0.1"]) as made:
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


GOOD = [(RSA, name, "rsa") for name in ("RS256", "RS384", "RS512", "PS256")] + [
    (EC, "ES256", "ec"),
    (ED, "EdDSA", "ed"),
]


@pytest.mark.parametrize(("key", "algorithm", "kid"), GOOD)
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


def _raw(head: dict[str, Any], payload: Any, key: Any = RSA) -> str:
    """Sign whatever it is, as no library would."""
    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in (head, payload)]
    signature = key.sign(b".".join(parts), padding.PKCS1v15(), hashes.SHA256())
    return b".".join([*parts, base64.urlsafe_b64encode(signature).rstrip(b"=")]).decode()


def _der_signature(payload: dict[str, Any]) -> str:
    """Sign as ES256 does, but give the signature in DER."""
    head, body, _ = sign(payload, EC, "ES256", "ec").split(".")
    signature = EC.sign(f"{head}.{body}".encode(), ec.ECDSA(hashes.SHA256()))
    return f"{head}.{body}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


def _with_key_inside(payload: dict[str, Any], **header: Any) -> str:
    """Sign with a key of one's own, and bring it along."""
    return jwt.encode(payload, OTHER, "RS256", headers={"jwk": jwk_of(OTHER, "own"), **header})


def _nested(payload: dict[str, Any]) -> str:
    head = base64.urlsafe_b64encode(b'{"alg":' + b"[" * 2400 + b"]" * 2400 + b"}").rstrip(b"=").decode()
    return f"{head}.{sign(payload).partition('.')[2]}"


HEAD = {"alg": "RS256", "kid": "rsa", "typ": "JWT"}
FLAWS: dict[str, Any] = {
    "exp was 30 s ago": lambda t: sign(claims(t, exp=int(time.time()) - 30)),
    "exp is null": lambda t: _raw(HEAD, claims(t) | {"exp": None}),
    "exp is true": lambda t: _raw(HEAD, claims(t, exp=True)),
    "exp is negative": lambda t: sign(claims(t, exp=-1)),
    "exp is a text of digits": lambda t: sign(claims(t, exp=str(int(time.time()) + 60))),
    "not yet is no number": lambda t: sign(claims(t, nbf="soon")),
    "issuer is a list": lambda t: _raw(HEAD, claims(t, iss=[ISSUER])),
    "issuer is longer": lambda t: sign(claims(t, iss=ISSUER + "/")),
    "issuer is null": lambda t: _raw(HEAD, claims(t) | {"iss": None}),
    "audience is empty": lambda t: sign(claims(t, aud=[])),
    "audience is a list of others": lambda t: sign(claims(t, aud=["other", AUDIENCE + "2"])),
    "audience is a number": lambda t: _raw(HEAD, claims(t, aud=7)),
    "audience is an object": lambda t: _raw(HEAD, claims(t, aud={AUDIENCE: True})),
    "tenant is a number": lambda t: sign(claims(t, tenant_id=7)),
    "tenant is empty": lambda t: sign(claims(t, tenant_id="")),
    "tenant is null": lambda t: _raw(HEAD, claims(t) | {"tenant_id": None}),
    "tenant is a list": lambda t: sign(claims(t, tenant_id=[t])),
    "tenant in other letters": lambda t: sign(claims(t.upper())),
    "tenant with a space": lambda t: sign(claims(t + " ")),
    "tenant of another claim": lambda t: sign(claims(t, tenant_id=None) | {"tenant": t}),
    "scope is a number": lambda t: sign(claims(t, scope=1)),
    "payload is a list": lambda t: _raw(HEAD, [claims(t)]),
    "payload is text": lambda t: _raw(HEAD, t),
    "kid is a number": lambda t: _raw(HEAD | {"kid": 7}, claims(t)),
    "kid is a path": lambda t: _raw(HEAD | {"kid": "../../dev/null"}, claims(t)),
    "kid of no key that verifies": lambda t: sign(claims(t), kid="oct"),
    "no alg": lambda t: _raw({"kid": "rsa"}, claims(t)),
    "alg in small letters": lambda t: _raw(HEAD | {"alg": "rs256"}, claims(t)),
    "alg is a list": lambda t: _raw(HEAD | {"alg": ["RS256"]}, claims(t)),
    "alg of another key's kind": lambda t: _raw(HEAD | {"alg": "ES256"}, claims(t)),
    "none with a signature": lambda t: _raw(HEAD | {"alg": "none"}, claims(t)),
    "None with a signature": lambda t: _raw(HEAD | {"alg": "None"}, claims(t)),
    "detached payload": lambda t: _raw(HEAD | {"b64": False, "crit": ["b64"]}, claims(t)),
    "key in the header": lambda t: _with_key_inside(claims(t)),
    "key in the header under a known name": lambda t: _with_key_inside(claims(t), kid="rsa"),
    "key at an address": lambda t: jwt.encode(
        claims(t),
        OTHER,
        "RS256",
        headers={"kid": "own", "jku": "http://127.0.0.1:9/jwks", "x5u": "http://127.0.0.1:9/"},
    ),
    "signature in DER": lambda t: _der_signature(claims(t)),
    "other key of Ed25519": lambda t: sign(claims(t), ed25519.Ed25519PrivateKey.generate(), "EdDSA", "ed"),
    "other key of P-256": lambda t: sign(claims(t), ec.generate_private_key(ec.SECP256R1()), "ES256", "ec"),
    "key for encryption": lambda t: sign(claims(t), OTHER, kid="enc"),
    "key for RS512": lambda t: sign(claims(t), OTHER, kid="rs512"),
    "key of 1024 bits": lambda t: _raw(HEAD | {"kid": "weak"}, claims(t), WEAK),
    "padded": lambda t: sign(claims(t)) + "=",
    "header nested deep": lambda t: _nested(claims(t)),
    "four parts": lambda t: sign(claims(t)) + ".e30",
    "two parts": lambda t: sign(claims(t)).rsplit(".", 1)[0],
    "cut short": lambda t: sign(claims(t))[:-8],
    "expired": lambda t: sign(claims(t, exp=int(time.time()) - 60)),
    "no exp": lambda t: sign(claims(t, exp=None)),
    "exp is no number": lambda t: sign(claims(t, exp="soon")),
    "exp is infinite": lambda t: sign(claims(t, exp=float("inf"))),
    "exp is huge": lambda t: sign(claims(t, exp=10**400)),
    "other issuer": lambda t: sign(claims(t, iss="https://evil.example")),
    "no issuer": lambda t: sign(claims(t, iss=None)),
    "other audience": lambda t: sign(claims(t, aud="other")),
    "no audience": lambda t: sign(claims(t, aud=None)),
    "not yet": lambda t: sign(claims(t, nbf=int(time.time()) + 60)),
    "issued in the future": lambda t: sign(claims(t, iat=int(time.time()) + 60)),
    "no tenant": lambda t: sign(claims(t, tenant_id=None)),
    "unknown tenant": lambda t: sign(claims(f"no-{t}")),
    "tenant is an operator": lambda t: sign(claims(t, tenant_id={"$ne": None})),
    "scope is a list of other things": lambda t: sign(claims(t, scope=[["analytics:read"]])),
    "scope is an object": lambda t: sign(claims(t, scope={"analytics:read": True})),
    "other key": lambda t: sign(claims(t), OTHER),
    "unknown kid": lambda t: sign(claims(t), OTHER, kid="other"),
    "no kid among many": lambda t: sign(claims(t), kid=None),
    "kid of another kind": lambda t: sign(claims(t), RSA, "RS256", "ec"),
    "PS512": lambda t: sign(claims(t), RSA, "PS512"),
    "HMAC by a published secret": lambda t: sign(claims(t), "secret" * 10, "HS256", "oct"),
    "HMAC by the public key": lambda t: _hmac_with_the_public_key(claims(t)),
    "none": lambda t: _none(claims(t)),
    "tampered": lambda t: _tampered(claims(t)),
    "no signature": lambda t: sign(claims(t)).rsplit(".", 1)[0] + ".",
    "crit": lambda t: jwt.encode(claims(t), RSA, "RS256", headers={"kid": "rsa", "crit": ["x"], "x": 1}),
}


async def test_a_jwt_with_a_flaw_is_a_401(gateway: Gateway, tenant: str) -> None:
    for number, (flaw, forge) in enumerate(FLAWS.items()):
        reply = await gateway.get(OVERVIEW, forge(tenant), {"X-Forwarded-For": f"192.0.2.{number}"})
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


async def test_a_jwt_ends_with_its_own_time_though_it_is_remembered(gateway: Gateway, tenant: str) -> None:
    ends = int(time.time()) + 2
    token = sign(claims(tenant, exp=ends - LEEWAY_SECONDS))
    asked = time.time()
    while (await gateway.get(OVERVIEW, token)).status == 200:
        assert asked < ends
        await asyncio.sleep(0.05)
        asked = time.time()
    assert time.time() >= ends


async def test_a_flaw_is_refused_beside_a_good_token_that_is_remembered(gateway: Gateway, tenant: str) -> None:
    payload = claims(tenant)
    good = sign(payload)
    assert (await gateway.get(OVERVIEW, good)).status == 200
    head, body, signature = good.split(".")
    last = "A" if signature[0] != "A" else "B"
    for forged in (f"{head}.{body}.{last}{signature[1:]}", _tampered(payload), sign(payload, OTHER)):
        assert (await gateway.get(OVERVIEW, forged)).status == 401
    assert (await gateway.get(OVERVIEW, good)).status == 200


async def test_what_is_taken_away_ends_within_5_s_on_every_gateway_while_it_is_used(
    run_gateway: RunGateway, issuer: Issuer, database: Database
) -> None:
    addresses = itertools.count()
    ended: list[float] = []
    in_use = 0

    async def use(gateway: Gateway, token: str) -> None:
        """Ask all the while until it is refused, and then some more."""
        nonlocal in_use
        statuses: list[int] = []
        while statuses.count(401) < 5:
            statuses.append(
                (await gateway.get(OVERVIEW, token, {"X-Forwarded-For": f"192.0.2.{next(addresses)}"})).status
            )
            if statuses[-1] == 200:
                last = time.monotonic()
            in_use += statuses == [200]
            await asyncio.sleep(0.1)
        assert statuses == sorted(statuses), "what has ended stays so"
        assert statuses[0] == 200
        ended.append(last)

    limits = dict.fromkeys(AreaName, 100_000)
    kept, deleted = await make_tenant(database, limits=limits), await make_tenant(database, limits=limits)
    revoked = await make_token(database, kept)
    tokens = [revoked, await make_token(database, deleted), sign(claims(deleted))]
    chosen: dict[str, Any] = {"jwt_jwks_url": issuer.url, "jwt_issuer": ISSUER, "jwt_audience": [AUDIENCE]}
    chosen["trusted_proxies"] = ["127.0.0.1"]
    async with run_gateway(**chosen) as one, run_gateway(**chosen) as two:
        tokens.append(await make_token(database, kept, expires_at=int(time.time() * 1000) + 1500))
        using = [asyncio.create_task(use(gateway, token)) for gateway in (one, two) for token in tokens]
        await until(lambda: in_use == len(using))
        await TokenStore(database).revoke(digest_of(revoked)[:16])
        await TenantStore(database).mark_deleted(deleted)
        changed = time.monotonic()
        await asyncio.gather(*using)
    assert max(ended) - changed < 5


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
    assert [key.algorithms[0] for key in await keys.find("rsa")] == ["RS256"]
    clock.ahead += 200
    with pytest.raises(Exception, match="unavailable"):
        await keys.find("rsa")
    issuer.down = False
    clock.ahead += 31
    assert [key.algorithms[0] for key in await keys.find("rsa")] == ["RS256"]


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


async def test_of_several_public_keys_each_one_lets_in_what_it_signed(run_gateway: RunGateway, tenant: str) -> None:
    form = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    pems = "".join(key.public_key().public_bytes(*form).decode() for key in (RSA, EC, ED))
    async with run_gateway(jwt_public_key=pems, jwt_issuer=ISSUER, jwt_audience=[AUDIENCE]) as gateway:
        for key, algorithm in ((RSA, "RS256"), (EC, "ES256"), (ED, "EdDSA")):
            assert (await gateway.get(OVERVIEW, sign(claims(tenant), key, algorithm, None))).status == 200
        for flawed in (sign(claims(tenant), OTHER), sign(claims(tenant, exp=1), ED, "EdDSA"), _none(claims(tenant))):
            assert (await gateway.get(OVERVIEW, flawed)).status == 401


async def test_without_jwt_settings_no_jwt_is_let_in(run_gateway: RunGateway, tenant: str) -> None:
    async with run_gateway() as gateway:
        assert (await gateway.get(OVERVIEW, sign(claims(tenant)))).status == 401


async def test_clocks_may_differ_by_half_a_minute(gateway: Gateway, tenant: str) -> None:
    now = int(time.time())
    for ahead in ({"nbf": now + 20}, {"iat": now + 20}, {"exp": now - 20}):
        assert (await gateway.get(OVERVIEW, sign(claims(tenant, **ahead)))).status == 200, ahead


async def test_all_who_come_with_a_new_key_wait_for_the_one_refresh(
    gateway: Gateway, issuer: Issuer, tenant: str
) -> None:
    before = issuer.asked
    issuer.keys.append(jwk_of(OTHER, "rotated"))
    issuer.gate = asyncio.Event()
    tokens = [sign(claims(tenant, jti=str(n)), OTHER, kid="rotated") for n in range(20)]
    asking = [asyncio.create_task(gateway.get(OVERVIEW, token)) for token in tokens]
    await until(lambda: issuer.asked > before)
    early, _ = await asyncio.wait(asking, timeout=0.3)
    issuer.gate.set()
    assert {reply.status for reply in await asyncio.gather(*asking)} == {200}
    assert not early
    assert issuer.asked == before + 1


async def test_at_a_cold_start_all_wait_for_the_first_keys(
    run_gateway: RunGateway, issuer: Issuer, tenant: str
) -> None:
    issuer.gate = asyncio.Event()
    async with run_gateway(jwt_jwks_url=issuer.url, jwt_issuer=ISSUER, jwt_audience=[AUDIENCE]) as gateway:
        tokens = [sign(claims(tenant, jti=str(n))) for n in range(10)]
        asking = [asyncio.create_task(gateway.get(OVERVIEW, token)) for token in tokens]
        await until(lambda: issuer.asked > 0)
        early, _ = await asyncio.wait(asking, timeout=0.3)
        issuer.gate.set()
        assert {reply.status for reply in await asyncio.gather(*asking)} == {200}
        assert not early


STRANGE: list[Any] = [
    None, 7, "key", [], {}, {"kty": ["RSA"]}, {"kty": {}}, {"kty": "RSA"}, {"kty": "RSA", "n": 7, "e": "AQAB"},
    {"kty": "RSA", "n": "!", "e": "AQAB"}, {"kty": "RSA", "n": "AQAB", "e": "AQAB"}, {"kty": "EC", "crv": ["P-256"]},
    {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"}, {"kty": "OKP", "crv": "Ed25519", "x": ""},
    {"kty": "OKP", "crv": "Ed448", "x": "AA"}, {"kty": "LMS", "kid": "x"},
]  # fmt: skip


async def test_strange_entries_of_a_jwks_are_passed_over(issuer: Issuer, gateway: Gateway) -> None:
    good = jwk_of(RSA, "good")
    flaws: list[dict[str, Any]] = [
        {"kid": 7}, {"kid": ["good"]}, {"alg": ["RS256"]}, {"alg": {}}, {"alg": "RSA-OAEP"}, {"use": ["sig"]},
        {"key_ops": "verify"}, {"key_ops": ["encrypt"]}, {"key_ops": 1},
    ]  # fmt: skip
    issuer.keys = [*STRANGE, *({**good, "kid": "flawed"} | flaw for flaw in flaws), good, {**jwk_of(EC, "good")}]
    keys = KeySet(issuer.url, gateway.session)
    found = await keys.find("good")
    assert [key.algorithms[0] for key in found] == ["RS256", "ES256"]
    for kid in ("flawed", "x"):
        with pytest.raises(UnknownKeyError):
            await keys.find(kid)
