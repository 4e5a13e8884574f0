"""The process is killed between every two steps; nothing acknowledged is lost, nothing counts twice."""

from __future__ import annotations

import asyncio
import uuid
from pathlib import Path
from typing import Any

import aiohttp
from service_process import service_process
from webhooks_factories import T0, VOICE, Signer, body_of, event, until

from voice_common.identity import IDENTITY_HEADER, Identity, IdentitySigner, new_key_pair
from voice_common.mongo import Client, Database
from voice_common.store.conversations import conversation_document
from voice_common.store.envelope import read_envelope
from voice_common.store.state import CallState
from voice_common.store.tenants import Claim, ClaimKind, Tenant, TenantStore
from voice_local.servers import Server
from voice_webhooks.contribution import contribution_of
from voice_webhooks.projection.language import is_english

CALLS = 8
POINTS = (
    "intake.numbered",
    "intake.inserted",
    "projection.begun",
    "projection.written",
    "projection.committed",
    "storing.stored",
)


def calls() -> dict[str, list[dict[str, Any]]]:
    made = {}
    for number in range(CALLS):
        ids = {"connection_id": "1001", "call_session_id": f"s{number}", "call_leg_id": f"l{number}"}
        made[f"s{number}"] = [
            event("call.initiated", T0 + number, id=f"{number}-1", **ids),
            event("call.answered", T0 + number + 5, id=f"{number}-2", **ids),
            event("call.cost", T0 + number + 7, id=f"{number}-3", connection_id="1001", call_leg_id=f"l{number}"),
            event("call.hangup", T0 + number + 9, id=f"{number}-4", **ids),
        ]
    return made


def oracle(events: list[dict[str, Any]], session: str, key: str) -> dict[str, Any]:
    state = CallState()
    for document in events:
        contribution = contribution_of(read_envelope(body_of(document), received_at=T0), key)
        assert contribution is not None
        state = state.join(contribution)
    return conversation_document("acme", session, state, is_english)


async def deliver(url: str, document: dict[str, Any], signer: Signer, identity: IdentitySigner) -> None:
    """Send one event as Telnyx does: again and again until it is acknowledged."""
    body = body_of(document)

    async def acknowledged() -> bool:
        headers = {IDENTITY_HEADER: identity.sign(Identity(None, frozenset(), "r"), "webhooks"), **signer.headers(body)}
        try:
            async with (
                aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=3)) as session,
                session.post(url + VOICE, data=body, headers=headers) as response,
            ):
                return response.status == 200
        except (aiohttp.ClientError, TimeoutError):
            return False

    await until(acknowledged, seconds=60)


async def test_a_crash_between_any_two_steps_loses_nothing_and_counts_nothing_twice(
    mongo_client: Client, mongo_server: Server, tmp_path: Path
) -> None:
    async def at(point: str) -> None:
        name = f"crash_{uuid.uuid4().hex}"
        await crash(mongo_client[name], mongo_server.url, tmp_path / point, point)
        await mongo_client.drop_database(name)

    await asyncio.gather(*(at(point) for point in POINTS))


async def crash(database: Database, mongo_url: str, fuse: Path, point: str) -> None:
    signer = Signer()
    private, public = new_key_pair()
    identity = IdentitySigner(private)
    tenants = TenantStore(database)
    await tenants.create_indexes()
    late = point == "storing.stored"
    acme = Tenant("acme", "Acme", claims=(Claim(ClaimKind.CONNECTION, "1001"),))
    if not late:
        await tenants.create(acme)
    fuse.touch()
    settings = {
        "VOICE_MONGO_URL": mongo_url,
        "VOICE_MONGO_DATABASE": database.name,
        "VOICE_IDENTITY_PUBLIC_KEYS": public,
        "VOICE_TELNYX_PUBLIC_KEYS": signer.public_key,
        "VOICE_FAULT_POINT": point,
        "VOICE_FAULT_FUSE": str(fuse),
    }
    made = calls()
    async with service_process("voice_webhooks", settings) as url:
        await asyncio.gather(
            *(deliver(url, document, signer, identity) for events in made.values() for document in events)
        )
        if late:
            await tenants.create(acme)
        expected = [oracle(events, session, signer.public_key) for session, events in sorted(made.items())]

        async def equal() -> bool:
            return await database["conversations"].find({}).sort("_id", 1).to_list() == expected

        await until(equal, seconds=60)
    assert not fuse.exists(), f"the process was not killed at {point}"
    assert await database["events"].count_documents({}) == CALLS * 4
    assert await database["quarantine"].count_documents({}) == 0
    assert await database["set_aside"].count_documents({}) == 0
