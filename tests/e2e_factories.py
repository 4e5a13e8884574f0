"""What the end-to-end tests are made of: a running ``voice up``, tenants with tokens, and simulated calls."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

from voice_common.mongo import Database, connect
from voice_common.store.tenants import AreaName, Claim, ClaimKind, Tenant, TenantStore
from voice_common.times import now_ms
from voice_gateway.areas import SCOPES
from voice_gateway.tokens import TokenStore
from voice_local.datadir import DataDir
from voice_local.simulation.calls import generate
from voice_local.simulation.delivery import Receipt, Signer, deliver
from voice_local.simulation.parties import Parties
from voice_local.simulation.story import Call, Event

VOICE = str(Path(sys.executable).with_name("voice"))
READY_SECONDS = 60.0


_ISSUER, _AUDIENCE = "https://issuer.example", "voice"
_ISSUER_KEY = ed25519.Ed25519PrivateKey.generate()
TRUSTING = {
    "VOICE_JWT_ISSUER": _ISSUER,
    "VOICE_JWT_AUDIENCE": _AUDIENCE,
    "VOICE_JWT_PUBLIC_KEY": _ISSUER_KEY.public_key()
    .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    .decode(),
}
"""The environment of a stack that believes `jwt_of`."""


@dataclass
class RunningStack:
    """A ``voice up`` of our own; `said` is the file that its output goes to."""

    process: subprocess.Popen[bytes]
    data: Path
    said: Path
    port: int

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def directory(self) -> DataDir:
        return DataDir(self.data)

    def described(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads((self.data / "stack.json").read_text())
        return document

    def wait_for(self, text: str) -> str:
        """Wait until the stack has said `text`; give all that it said."""
        deadline = time.monotonic() + READY_SECONDS
        while text not in (said := self.said.read_text()):
            assert self.process.poll() is None, said
            assert time.monotonic() < deadline, said
            time.sleep(0.05)
        return said

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Ask for the end; give the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(25)


def start_stack(data: Path, port: int, *options: str, environment: Mapping[str, str] | None = None) -> RunningStack:
    """Start a stack; it may not be ready yet."""
    data.parent.mkdir(parents=True, exist_ok=True)
    said = data.parent / f"{data.name}.said"
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("VOICE_")}
    with said.open("wb") as output:
        process = subprocess.Popen(
            [VOICE, "up", "--port", str(port), "--data-dir", str(data), *options],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**inherited, **(environment or {})},
        )
    return RunningStack(process, data, said, port)


def run_voice(*arguments: str, environment: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("VOICE_")}
    return subprocess.run(
        [VOICE, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={**inherited, **(environment or {})},
    )


@dataclass(frozen=True, eq=False)
class Customer:
    """A tenant with a token."""

    tenant: Tenant
    token: str

    @property
    def authorization(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}


@dataclass
class World:
    """A test's hold on the running stack."""

    stack: RunningStack
    database: Database
    session: aiohttp.ClientSession

    async def customer(self, *, tokens: int = 1, limits: Mapping[AreaName, int] | None = None) -> list[Customer]:
        """Make a tenant of its own with some tokens."""
        name = f"t-{uuid.uuid4().hex[:12]}"
        claims = (
            Claim(ClaimKind.CONNECTION, str(uuid.uuid4().int)[:19]),
            Claim(ClaimKind.NUMBER, f"+1312{str(uuid.uuid4().int)[:7]}"),
            Claim(ClaimKind.ASSISTANT, f"assistant-{uuid.uuid4()}"),
        )
        tenant = await TenantStore(self.database).create(Tenant(name, name, limits or {}, claims=claims))
        store = TokenStore(self.database)
        return [Customer(tenant, await token_of(store, name)) for _ in range(tokens)]

    def calls_of(
        self, customer: Customer, *, count: int, days: int = 3, seed: int = 7, storage: int | None = None
    ) -> list[Call]:
        parties = Parties.of(customer.tenant)
        return generate(parties, seed=seed, count=count, days=days, now=now_ms(), storage=storage)

    async def send(self, deliveries: Sequence[tuple[Event, int]], *, rate: float | None = None) -> Receipt:
        signer = Signer(self.stack.directory.keys().telnyx)
        return await deliver(deliveries, self.stack.base_url, signer, self.session, rate=rate)

    async def get(self, path: str, customer: Customer | None = None, **headers: str) -> Answer:
        known = {} if customer is None else customer.authorization
        url = self.stack.base_url + path
        async with self.session.get(url, headers={**known, **headers}) as response:
            return Answer(response.status, await response.json(content_type=None), response.headers)

    async def fresh(self, path: str, customer: Customer) -> Any:
        """Give an answer's body that was computed now."""
        answer = await self.get(path, customer, **{"Cache-Control": "no-cache"})
        assert answer.status == 200, answer.body
        return answer.body


@dataclass(frozen=True)
class Answer:
    """What a client got."""

    status: int
    body: Any
    headers: Mapping[str, str]


async def token_of(store: TokenStore, tenant: str, scopes: Iterable[str] = SCOPES) -> str:
    secret, _ = await store.issue(tenant, name="test", scopes=sorted(scopes), expires_at=None)
    return secret


def jwt_of(tenant: str, scopes: Iterable[str]) -> str:
    """Make a JWT of the issuer that `TRUSTING` names."""
    claims = {
        "iss": _ISSUER,
        "aud": _AUDIENCE,
        "exp": int(time.time()) + 600,
        "tenant_id": tenant,
        "scope": " ".join(scopes),
    }
    return jwt.encode(claims, _ISSUER_KEY, algorithm="EdDSA")


async def until(holds: Callable[[], Awaitable[object]], *, seconds: float = 15.0) -> None:
    """Wait until `holds` gives something true; an assertion that fails inside is shown at the deadline."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            if await holds():
                return
            reason = "it never held"
        except (AssertionError, TimeoutError, aiohttp.ClientError) as error:
            reason = repr(error)
        assert time.monotonic() < deadline, reason
        await asyncio.sleep(0.1)


def is_alive(pid: int) -> bool:
    """Tell whether a process runs; one that ended and that nobody has asked about does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def descendants(pid: int) -> set[int]:
    """Give the processes below a process."""
    below: dict[int, set[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
            except (FileNotFoundError, ProcessLookupError):
                continue
            below.setdefault(parent, set()).add(int(entry.name))
    found, todo = set(), [pid]
    while todo:
        for child in below.get(todo.pop(), ()):
            found.add(child)
            todo.append(child)
    return found


def open_database(url: str) -> Database:
    """Give the stack's database; its client must be closed."""
    return connect(url, timeout_seconds=10)["voice"]
