"""The demo tenant: claims, calls of the last days, and a token to look at them with."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass

import aiohttp

from voice_common.mongo import Database, connect
from voice_common.settings import StoreSettings, load
from voice_common.store.tenants import Claim, ClaimKind, ClaimTakenError, Tenant, TenantExistsError, TenantStore
from voice_common.times import now_ms
from voice_gateway.areas import SCOPES
from voice_gateway.tokens import TokenStore, digest_of
from voice_local.datadir import DataDir
from voice_local.simulation.calls import generate
from voice_local.simulation.delivery import DeliveryError, Signer, deliver, planned
from voice_local.simulation.parties import Parties
from voice_local.simulation.story import Call
from voice_local.stack import Stack
from voice_local.storage import STORAGE

TENANT = "demo"
_CLAIMS = (
    Claim(ClaimKind.CONNECTION, "2694492062593582591"),
    Claim(ClaimKind.ASSISTANT, "assistant-d9082b56-ba2d-4ad1-a50c-58661eb1463d"),
    Claim(ClaimKind.NUMBER, "+13124287921"),
)
# The week that the console shows first, and the one before it to compare with.
_CALLS, _DAYS, _SEED = 140, 14, 1
_SHOWN_SECONDS = 10.0


class DemoError(Exception):
    """The demo can't be set up; the text is one sentence. The stack runs all the same."""


@dataclass(frozen=True, slots=True)
class Demo:
    """What a visitor needs: a token, and a line to paste."""

    token: str
    curl: str


async def set_up_demo(stack: Stack, directory: DataDir) -> Demo:
    """Make the tenant, its calls and a token where they are not there from an earlier start; raise `DemoError`.

    Asks the store, not the API: a visitor's allowance is whole.
    """
    client = connect(stack.plan.mongo_url, timeout_seconds=10)
    try:
        database = client[load(StoreSettings).mongo_database]
        tenant = await _tenant(database)
        await _send_calls(stack, directory, tenant, database)
        token = await _token(directory, TokenStore(database))
    finally:
        await client.close()
    curl = f'curl -H "Authorization: Bearer {token}" "{stack.base_url}/api/voice/analytics/overview"'
    return Demo(token, curl)


async def _tenant(database: Database) -> Tenant:
    store = TenantStore(database)
    await store.create_indexes()
    try:
        if await store.find(TENANT) is not None:
            return await store.get(TENANT)
        return await store.create(Tenant(TENANT, "Demo", claims=_CLAIMS))
    except TenantExistsError:
        raise DemoError("The tenant demo was deleted and its data is not gone yet, so there is no demo") from None
    except ClaimTakenError as error:
        raise DemoError(f"{error}, so there is no demo; start with --no-demo") from None


async def _send_calls(stack: Stack, directory: DataDir, tenant: Tenant, database: Database) -> None:
    """Send the demo's calls once for each tenant that bore the name: their ids are the same at every start."""
    born = {"created_at": tenant.created_at}
    if _kept(directory) == born or tenant.telnyx_public_keys or not tenant.claims:
        return
    storage = stack.plan.ports[STORAGE]
    calls = generate(Parties.of(tenant), seed=_SEED, count=_CALLS, days=_DAYS, now=now_ms(), storage=storage)
    signer = Signer(stack.plan.keys.telnyx)
    try:
        async with aiohttp.ClientSession() as session:
            await deliver(planned(calls), stack.base_url, signer, session)
    except DeliveryError as error:
        raise DemoError(f"The demo calls were not taken: {error}") from error
    directory.write_secret(directory.demo_file, json.dumps(born))
    await _shown(database, calls)


async def _shown(database: Database, calls: Sequence[Call]) -> None:
    """Wait a moment for the last events to show, so that the first answer, which is cached, has all calls in it."""
    newest = {call.session: call.events[-1].at for call in calls}
    deadline = time.monotonic() + _SHOWN_SECONDS
    while time.monotonic() < deadline:
        found = database["conversations"].find({"_id.tenant": TENANT}, {"newest_at": 1})
        shown = {document["_id"]["session"]: document["newest_at"] async for document in found}
        if all(shown.get(session, 0) >= at for session, at in newest.items()):
            return
        await asyncio.sleep(0.1)


async def _token(directory: DataDir, store: TokenStore) -> str:
    """Give the token of an earlier start where it is still good, else a new one."""
    if directory.token_file.is_file():
        secret = directory.token_file.read_text().strip()
        found = await store.find(digest_of(secret))
        if found is not None and found[1].id == TENANT and found[0].is_good(now_ms()):
            return secret
    await store.create_indexes()
    secret, _ = await store.issue(TENANT, name="demo", scopes=sorted(SCOPES), expires_at=None)
    directory.write_secret(directory.token_file, secret)
    return secret


def _kept(directory: DataDir) -> object:
    try:
        return json.loads(directory.demo_file.read_text())
    except (FileNotFoundError, ValueError):
        return None
