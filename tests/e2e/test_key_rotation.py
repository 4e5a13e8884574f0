"""Each kind of key is changed as docs/operations.md says, while the system is used: no request fails for it."""

from __future__ import annotations

import asyncio
import itertools
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any

import jwt
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519
from e2e_factories import until
from gateway_factories import PRIVATE_KEY, PUBLIC_KEY, make_token
from system_factories import System, running_system
from webhooks_factories import T0, VOICE, Signer, body_of, event

from voice_common.identity import IDENTITY_HEADER, Identity, IdentitySigner, new_key_pair
from voice_common.store.tenants import AreaName, Claim, ClaimKind, Tenant, TenantStore
from voice_gateway.signing_keys import KeySet
from voice_local.servers import Server

TENANT = "acme"
LIMITS = dict.fromkeys(AreaName, 1_000_000)
READ = ("/api/conversations", "/api/conversations/s0", "/api/voice/analytics/overview")
_PATIENCE = 8.0
ISSUER, AUDIENCE = "https://issuer.example", "voice"


@pytest.fixture
async def system(mongo_server: Server, redis_server: Server, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[System]:
    # A store that a busy machine makes slow is a 503, whatever the keys: here it may take its time.
    monkeypatch.setattr("voice_recordings.app.STORE_SECONDS", _PATIENCE)
    monkeypatch.setenv("VOICE_ANALYTICS_STORE_SECONDS", str(_PATIENCE))
    async with running_system(mongo_server.url, redis_server.url, one_each=True) as made:
        claim = Claim(ClaimKind.CONNECTION, "1001")
        await TenantStore(made.database).create(Tenant(TENANT, "Acme", LIMITS, claims=(claim,)))
        yield made


class Traffic:
    """Readers and senders that use whatever `credentials` and `signers` are the present ones, and never stop.

    A webhook that is answered 503 is sent again, as Telnyx does; any other answer than 200 has failed.
    """

    def __init__(self, system: System, credentials: Callable[[], str], signers: Iterable[Signer]) -> None:
        self.system = system
        self.credentials = credentials
        self.signers = list(signers)
        self.failed: list[tuple[str, int, str]] = []
        self.answered: Counter[str] = Counter()
        self.running: list[asyncio.Task[None]] = []
        self._names = itertools.count()

    async def read(self, path: str) -> None:
        while True:
            reply = await self.system.get(path, self.credentials(), {"Cache-Control": "no-cache"})
            self._note(path, reply.status, reply.body)

    async def send(self) -> None:
        for name in self._names:
            signer = self.signers[name % len(self.signers)]
            body = body_of(event("call.initiated", T0, id=f"e{name}", connection_id="1001", call_session_id=f"s{name}"))
            while (reply := await self.system.post(VOICE, body, signer.headers(body))).status == 503:
                pass
            self._note(VOICE, reply.status, reply.body)

    def _note(self, path: str, status: int, body: bytes) -> None:
        self.answered[path] += 1
        if status != 200:
            self.failed.append((path, status, body.decode()))

    async def goes_on(self, count: int = 4) -> None:
        """Wait until each kind of request was answered so many more times."""
        assert not (ended := [task.exception() for task in self.running if task.done()]), ended
        before = self.answered.copy()
        paths = [*READ, *([VOICE] if self.signers else [])]
        await until(lambda: asyncio.sleep(0, all(self.answered[path] >= before[path] + count for path in paths)))
        assert self.failed == []
        assert not (ended := [task.exception() for task in self.running if task.done()]), ended


@asynccontextmanager
async def under_way(
    system: System, credentials: Callable[[], str] | None = None, signers: Iterable[Signer] = ()
) -> AsyncIterator[Traffic]:
    """Let traffic run, and check that none of it failed."""
    token = await make_token(system.database, TENANT)
    first = body_of(event("call.initiated", T0, connection_id="1001", call_session_id="s0"))
    await system.post(VOICE, first, system.signer.headers(first))
    await until(lambda: system.database["conversations"].find_one({"_id.session": "s0"}))
    traffic = Traffic(system, credentials or (lambda: token), signers)
    users = [traffic.read(path) for path in READ] + ([traffic.send(), traffic.send()] if traffic.signers else [])
    running = traffic.running = [asyncio.create_task(user) for user in users]
    try:
        await traffic.goes_on()
        yield traffic
        await traffic.goes_on()
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


async def answer_to(system: System, signer: Signer) -> int:
    body = body_of(event("call.cost", T0, connection_id="1001", call_session_id="s0"))
    return (await system.post(VOICE, body, signer.headers(body))).status


async def test_the_systems_telnyx_key_is_changed_while_webhooks_come(system: System) -> None:
    old, new = system.signer, Signer()
    async with under_way(system, signers=[old]) as traffic:
        await system.roll("webhooks", telnyx_public_keys=[old.public_key, new.public_key])
        await traffic.goes_on()
        traffic.signers = [old, new]  # what is on its way, and what comes after the change at Telnyx
        await traffic.goes_on()
        traffic.signers = [new]
        await traffic.goes_on()
        await system.roll("webhooks", telnyx_public_keys=[new.public_key])
    assert await answer_to(system, old) == 401
    assert await answer_to(system, new) == 200


async def test_a_tenants_own_telnyx_key_is_changed_while_webhooks_come(system: System) -> None:
    old, new = Signer(), Signer()
    tenants = TenantStore(system.database)
    claims = (Claim(ClaimKind.CONNECTION, "1001"),)

    async def trust(*signers: Signer) -> None:
        keys = tuple(signer.public_key for signer in signers)
        await tenants.replace(Tenant(TENANT, "Acme", LIMITS, telnyx_public_keys=keys, claims=claims))

    system.signer = old
    await trust(old)
    async with under_way(system, signers=[old]) as traffic:
        await trust(old, new)
        traffic.signers = [old, new]  # at once: keys count from the moment the command returns
        await traffic.goes_on()
        traffic.signers = [new]
        await traffic.goes_on()
        await trust(new)

        async def ended() -> bool:
            return await answer_to(system, old) == 401

        await until(ended, seconds=5)


async def test_the_internal_identity_is_changed_while_the_system_is_used(system: System) -> None:
    private, public = new_key_pair()
    async with under_way(system, signers=[system.signer]) as traffic:
        for service in ("webhooks", "recordings", "analytics"):
            await system.roll(service, identity_public_keys=[PUBLIC_KEY, public])
        await traffic.goes_on()
        await system.roll_gateway(identity_private_key=private)
        await traffic.goes_on()
        for service in ("webhooks", "recordings", "analytics"):
            await system.roll(service, identity_public_keys=[public])
    identity = Identity(TENANT, frozenset({"conversations:read"}), "request")
    for key, status in ((PRIVATE_KEY, 401), (private, 200)):
        signed = {IDENTITY_HEADER: IdentitySigner(key).sign(identity, "recordings")}
        url = f"http://127.0.0.1:{system.port('recordings')}{READ[0]}"
        async with system.session.get(url, headers=signed) as answer:
            assert answer.status == status


def _pem(*keys: ed25519.Ed25519PrivateKey) -> str:
    form = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    return "".join(key.public_key().public_bytes(*form).decode() for key in keys)


def _jwt(key: ed25519.Ed25519PrivateKey, kid: str | None = None) -> str:
    scope = "analytics:read conversations:read"
    claims: dict[str, Any] = {"iss": ISSUER, "aud": AUDIENCE, "tenant_id": TENANT, "scope": scope}
    claims["jti"] = uuid.uuid4().hex  # else two of one second are one, which is remembered for up to 4 s
    return jwt.encode(
        claims | {"exp": int(time.time()) + 600}, key, algorithm="EdDSA", headers={"kid": kid} if kid else {}
    )


async def test_the_public_key_of_jwts_is_changed_while_they_are_used(system: System) -> None:
    old, new = ed25519.Ed25519PrivateKey.generate(), ed25519.Ed25519PrivateKey.generate()
    issuer = {"jwt_issuer": ISSUER, "jwt_audience": [AUDIENCE]}
    await system.roll_gateway(jwt_public_key=_pem(old), **issuer)
    tokens = [_jwt(old)]
    turns = itertools.count()
    async with under_way(system, lambda: tokens[next(turns) % len(tokens)]) as traffic:
        await system.roll_gateway(jwt_public_key=_pem(old, new), **issuer)
        tokens.append(_jwt(new))
        await traffic.goes_on()
        tokens.pop(0)
        await traffic.goes_on()
        await system.roll_gateway(jwt_public_key=_pem(new), **issuer)
    assert (await system.get(READ[0], _jwt(old))).status == 401


async def test_the_issuer_of_jwts_changes_its_key_while_they_are_used(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(KeySet, "unknown_kid_seconds", 0.0)
    old, new = ed25519.Ed25519PrivateKey.generate(), ed25519.Ed25519PrivateKey.generate()
    keys = [_jwk(old, "old")]

    async def jwks(_request: web.Request) -> web.Response:
        return web.json_response({"keys": keys})

    app = web.Application()
    app.router.add_get("/jwks", jwks)
    async with TestServer(app) as issuer:
        url = str(issuer.make_url("/jwks"))
        await system.roll_gateway(jwt_jwks_url=url, jwt_issuer=ISSUER, jwt_audience=[AUDIENCE])
        tokens = [_jwt(old, "old")]
        turns = itertools.count()
        async with under_way(system, lambda: tokens[next(turns) % len(tokens)]) as traffic:
            keys.append(_jwk(new, "new"))
            tokens.append(_jwt(new, "new"))
            await traffic.goes_on()
            tokens.pop(0)
            keys.pop(0)
            await traffic.goes_on()
            unknown = await system.get(READ[0], _jwt(new, "unknown"))  # has the keys asked for again
            assert unknown.status == 401
        assert (await system.get(READ[0], _jwt(old, "old"))).status == 401


def _jwk(key: ed25519.Ed25519PrivateKey, kid: str) -> dict[str, Any]:
    return {**jwt.algorithms.OKPAlgorithm.to_jwk(key.public_key(), as_dict=True), "kid": kid, "use": "sig"}
