"""Signed Telnyx webhooks, and the webhooks service on a real MongoDB."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from aiohttp import ClientResponse
from aiohttp.test_utils import TestClient, TestServer
from nacl.signing import SigningKey

from voice_common.identity import IDENTITY_HEADER, Identity, IdentitySigner, new_key_pair
from voice_common.mongo import Database
from voice_common.times import render_ms
from voice_common.web.runner import ServiceRunner
from voice_webhooks.app import create_app
from voice_webhooks.front import webhook_front
from voice_webhooks.settings import WebhooksSettings

VOICE = "/api/webhooks/telnyx/voice"
CONVERSATIONAL_AI = "/api/webhooks/telnyx/voice/conversational-ai"
T0 = 1_736_935_200_000  # 2025-01-15T10:00:00Z
_numbers = itertools.count(1)


@dataclass(frozen=True)
class Signer:
    """One Telnyx account's key."""

    key: SigningKey = field(default_factory=SigningKey.generate)

    @property
    def public_key(self) -> str:
        return base64.b64encode(bytes(self.key.verify_key)).decode()

    def headers(self, body: bytes, *, timestamp: int | None = None) -> dict[str, str]:
        moment = str(int(time.time()) if timestamp is None else timestamp)
        signature = self.key.sign(moment.encode() + b"|" + body).signature
        return {"telnyx-signature-ed25519": base64.b64encode(signature).decode(), "telnyx-timestamp": moment}


def event(kind: str, at: int = T0, *, id: str | None = None, **payload: Any) -> dict[str, Any]:  # noqa: A002
    """Make an event in Telnyx's envelope, `at` in milliseconds."""
    return {
        "data": {
            "record_type": "event",
            "event_type": kind,
            "id": id or f"event-{next(_numbers)}",
            "occurred_at": render_ms(at),
            "payload": payload,
        }
    }


def body_of(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document).encode()


class Service:
    """The webhooks service behind a client that carries the gateway's identity."""

    def __init__(
        self, client: TestClient[Any, Any], database: Database, signer: Signer, identity: IdentitySigner
    ) -> None:
        self.client = client
        self.database = database
        self.signer = signer
        self._identity = identity

    def identity(self) -> dict[str, str]:
        return {IDENTITY_HEADER: self._identity.sign(Identity(None, frozenset(), "request"), "webhooks")}

    async def post(
        self,
        document: Mapping[str, Any] | bytes,
        *,
        signer: Signer | None = None,
        path: str = VOICE,
        timestamp: int | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> ClientResponse:
        body = document if isinstance(document, bytes) else body_of(document)
        signed = (signer or self.signer).headers(body, timestamp=timestamp) if headers is None else headers
        return await self.client.post(path, data=body, headers={**self.identity(), **signed})

    async def deliver(self, document: Mapping[str, Any]) -> None:
        """Send an event until it is stored, as Telnyx does."""
        while (response := await self.post(document)).status == 503:
            pass
        assert response.status == 200, await response.text()

    async def status(self, document: Mapping[str, Any] | bytes, *, signer: Signer | None = None) -> str:
        response = await self.post(document, signer=signer)
        assert response.status == 200, await response.text()
        return str((await response.json())["status"])

    async def conversation(self, session: str, tenant: str = "acme") -> dict[str, Any] | None:
        return await self.database["conversations"].find_one({"_id": {"tenant": tenant, "session": session}})


class _Server(TestServer):
    """Serves the application behind its front, as gunicorn does."""

    async def _make_runner(self, **_: Any) -> ServiceRunner:
        return ServiceRunner(self.app, drain_seconds=5, front=webhook_front(self.app))


async def start_service(
    database: Database, mongo_url: str, signer: Signer, **more: int
) -> tuple[Service, Callable[[], Awaitable[None]]]:
    """Start the service on `database`, with `more` settings; give it and what stops it."""
    private, public = new_key_pair()
    settings = WebhooksSettings(
        mongo_url=mongo_url,
        mongo_database=database.name,
        identity_public_keys=[public],
        telnyx_public_keys=[signer.public_key],
        **more,  # type: ignore[arg-type] # pydantic looks at them
    )
    client = TestClient(_Server(create_app(settings)))
    await client.start_server()
    return Service(client, database, signer, IdentitySigner(private)), client.close


async def until(condition: Callable[[], Awaitable[Any]], *, seconds: float = 10.0) -> Any:
    """Wait until `condition` gives something true, and give that."""
    deadline = time.monotonic() + seconds
    while True:
        if found := await condition():
            return found
        assert time.monotonic() < deadline, "the condition did not come true in time"
        await asyncio.sleep(0.01)
