"""What callers say, and their numbers, are in events and conversations, and in nothing that tells of failures."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

import aiohttp
import pytest
from service_process import service_process
from webhooks_factories import T0, VOICE, Signer, body_of, event, until

from voice_common.identity import IDENTITY_HEADER, Identity, IdentitySigner, new_key_pair
from voice_common.mongo import Client, Database
from voice_common.store.tenants import Claim, ClaimKind, Tenant, TenantStore
from voice_local.servers import Server
from voice_webhooks.indexes import make_indexes

WORD, NUMBER = "zwiebelfischkutter", "+4915799900417"
SECRETS = (WORD, NUMBER.removeprefix("+"))
LEVELS = ("debug", "info", "warning", "error")


async def test_no_word_and_no_number_is_logged_or_set_aside_at_any_level(
    mongo_client: Client, mongo_server: Server, capfd: pytest.CaptureFixture[str]
) -> None:
    async def at(level: str) -> None:
        name = f"silence_{uuid.uuid4().hex}"
        await tell_everything(mongo_client[name], mongo_server.url, level)
        await mongo_client.drop_database(name)

    await asyncio.gather(*(at(level) for level in LEVELS))
    logged = "".join(capfd.readouterr())
    assert logged.count("event set aside") >= 2 * len(LEVELS), "the failures were logged"
    for secret in SECRETS:
        assert secret not in logged


async def tell_everything(database: Database, mongo_url: str, level: str) -> None:
    """Let a service store, project, refuse, keep and set aside events that are full of words and numbers."""
    signer, (private, public) = Signer(), new_key_pair()
    identity = IdentitySigner(private)
    tenants = TenantStore(database)
    await make_indexes(database)
    await tenants.create(Tenant("acme", "Acme", claims=(Claim(ClaimKind.CONNECTION, "1001"),)))
    await database["conversations"].insert_one({"_id": "first"})
    await database["conversations"].delete_one({"_id": "first"})
    # What the store refuses comes back with the whole document in the error.
    await database.command("collMod", "conversations", validator={"_id.session": {"$ne": "refused"}})
    settings = {
        "VOICE_MONGO_URL": mongo_url,
        "VOICE_MONGO_DATABASE": database.name,
        "VOICE_IDENTITY_PUBLIC_KEYS": public,
        "VOICE_TELNYX_PUBLIC_KEYS": signer.public_key,
        "VOICE_LOG_LEVEL": level,
    }
    async with service_process("voice_webhooks", settings) as url, aiohttp.ClientSession(url) as session:

        async def post(body: bytes, *, signed: bool = True) -> int:
            headers = {IDENTITY_HEADER: identity.sign(Identity(None, frozenset(), "r"), "webhooks")}
            async with session.post(
                VOICE, data=body, headers=headers | (signer.headers(body) if signed else {})
            ) as answer:
                return answer.status

        async def tell(name: str, call: str, said: str, **payload: Any) -> None:
            ids = {"connection_id": "1001", "call_session_id": call, "from": NUMBER, "to": NUMBER, **payload}
            body = body_of(event("ai.assistant.transcript", T0, id=name, role="user", text=said, **ids))
            assert await post(body) == 200

        await tell("good", "good", WORD, direction="incoming")
        await tell("good", "good", WORD, direction="incoming")
        await tell("unclaimed", "other", WORD, connection_id="2002", direction="incoming")
        await tell("strange", "strange", WORD, direction=[NUMBER], start_time={WORD: NUMBER})
        await tell("refused", "refused", WORD, direction="incoming")
        for place in range(5):
            await tell(f"large-{place}", "large", f"{place} {WORD} " * 40_000)
        assert await post(f"{WORD} {NUMBER}".encode()) == 400
        assert await post(body_of(event("call.initiated", note=WORD, to=NUMBER)), signed=False) == 401

        async def told() -> bool:
            aside = {document["_id"]["event"] async for document in database["set_aside"].find({})}
            return "refused" in aside and any(name.startswith("large") for name in aside)

        await until(told, seconds=60)
    for document in await database["set_aside"].find({}).to_list():
        assert not [secret for secret in SECRETS if secret in repr(document)], document["_id"]
