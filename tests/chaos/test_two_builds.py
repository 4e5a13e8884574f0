"""Two builds beside each other on one store, with traffic: a rolling upgrade, and a rollback."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from builds import newer_build
from chaos_factories import Running
from voice_command import Voice
from webhooks_factories import VOICE, Signer, until

from voice_common.identity import IDENTITY_HEADER, Identity, IdentitySigner, new_key_pair
from voice_common.mongo import Database
from voice_common.store.conversations import VERSION
from voice_common.store.tenants import Claim, ClaimKind, Tenant, TenantStore
from voice_common.times import now_ms
from voice_local.servers import Server
from voice_local.simulation import oracle
from voice_local.simulation.calls import generate
from voice_local.simulation.parties import Parties
from voice_local.simulation.story import Call, Event

CALLS = 60
SHOWN_SECONDS = 15.0
"""Longest until what was acknowledged shows, with two builds at work; the machine may be busy with other tests."""


@dataclass
class Build:
    """The two services of one build that write to the store."""

    webhooks: Running
    analytics: Running

    async def start(self) -> None:
        await asyncio.gather(self.webhooks.start(), self.analytics.start())

    async def stop(self) -> None:
        await asyncio.gather(self.webhooks.stop(), self.analytics.stop())


@dataclass
class Deployment:
    """A store with one tenant, an older and a newer build, and calls that are sent to whichever builds run."""

    database: Database
    older: Build
    newer: Build
    signer: Signer
    identity: IdentitySigner
    session: aiohttp.ClientSession
    calls: Sequence[Call]

    async def send(self, events: Sequence[Event], *builds: Build) -> None:
        """Deliver events, to the builds in turns, each until it is acknowledged; several at a time."""
        turns = itertools.cycle([build.webhooks.url for build in builds])
        waiting = list(events)

        async def sender() -> None:
            while waiting:
                event = waiting.pop()
                while not await self._delivered(event, next(turns)):  # noqa: ASYNC110 - Telnyx polls too
                    await asyncio.sleep(0.05)

        await asyncio.gather(*(sender() for _ in range(8)))

    async def _delivered(self, event: Event, url: str) -> bool:
        body = event.body(1)
        identity = self.identity.sign(Identity(None, frozenset(), "r"), "webhooks")
        headers = {IDENTITY_HEADER: identity, **self.signer.headers(body)}
        async with self.session.post(url + VOICE, data=body, headers=headers) as response:
            assert response.status in {200, 503}, await response.text()
            return response.status == 200

    async def metrics(self, build: Build) -> Any:
        identity = self.identity.sign(Identity("acme", frozenset({"analytics:read"}), "r"), "analytics")
        url = f"{build.analytics.url}/api/voice/analytics/detailed"
        async with self.session.get(url, headers={IDENTITY_HEADER: identity}) as response:
            assert response.status == 200, await response.text()
            return (await response.json())["metrics"]

    async def until_exact(self, build: Build) -> None:
        wanted = oracle.metrics(self.calls)

        async def exact() -> bool:
            return bool(await self.metrics(build) == wanted)

        await until(exact, seconds=SHOWN_SECONDS)

    async def until_shown(self, events: Sequence[Event]) -> None:
        """Wait until each call of which an event names the session is there."""
        named = {event.data["payload"].get("call_session_id") for event in events}
        sessions = {session for session in named if session is not None}

        async def shown() -> bool:
            found = await self.database["conversations"].distinct("_id.session")
            return sessions <= set(found)

        await until(shown, seconds=SHOWN_SECONDS)

    async def versions(self) -> set[int]:
        return set(await self.database["conversations"].distinct("version"))


@pytest.fixture
async def deployment(tmp_path: Path, mongo_server: Server, database: Database) -> AsyncIterator[Deployment]:
    tenants = TenantStore(database)
    await tenants.create_indexes()
    tenant = await tenants.create(Tenant("acme", "Acme", claims=(Claim(ClaimKind.CONNECTION, "2694492062593582591"),)))
    calls = generate(Parties.of(tenant), seed=5, count=CALLS, days=2, now=now_ms())
    signer = Signer()
    private, public = new_key_pair()
    settings = {
        "VOICE_MONGO_URL": mongo_server.url,
        "VOICE_MONGO_DATABASE": database.name,
        "VOICE_IDENTITY_PUBLIC_KEYS": public,
        "VOICE_TELNYX_PUBLIC_KEYS": signer.public_key,
        "VOICE_ANALYTICS_WORKER_IN_PROCESS": "true",
    }

    def build(name: str, more: dict[str, str]) -> Build:
        return Build(
            Running("voice_webhooks", settings | more, tmp_path / f"{name}-webhooks.log"),
            Running("voice_analytics", settings | more, tmp_path / f"{name}-analytics.log"),
        )

    older, newer = build("older", {}), build("newer", newer_build(tmp_path / "newer"))
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as session:
        yield Deployment(database, older, newer, signer, IdentitySigner(private), session, calls)
        await asyncio.gather(older.stop(), newer.stop())


def in_thirds(calls: Sequence[Call]) -> list[list[Event]]:
    """Give the calls' events, shuffled, in three parts: nearly every call has some in each."""
    events = [event for call in calls for event in call.events]
    random.Random(3).shuffle(events)  # noqa: S311 - an order, no secret
    third = len(events) // 3
    return [events[:third], events[third : 2 * third], events[2 * third :]]


async def of_newer_code(database: Database) -> None:
    """Have the newer build's operator set what only that build knows."""
    await database["tenants"].update_one({"_id": "acme"}, {"$set": {"limits.exports": 10, "retention.recordings": 30}})
    await database["meta"].update_one({"_id": "directory"}, {"$inc": {"version": 1}})


async def test_a_rolling_upgrade_under_traffic_loses_nothing_stops_nothing_and_stays_exact(
    deployment: Deployment,
) -> None:
    first, second, third = in_thirds(deployment.calls)
    await deployment.older.start()
    await deployment.send(first, deployment.older)
    await deployment.newer.start()
    await of_newer_code(deployment.database)
    await deployment.send(second, deployment.older, deployment.newer)
    await deployment.until_shown([*first, *second])
    sent = {event.id for event in (*first, *second)}
    assert set(await deployment.database["events"].distinct("_id.event")) == sent
    await deployment.send(third, deployment.older, deployment.newer)
    await deployment.until_exact(deployment.newer)
    await deployment.until_exact(deployment.older)
    await deployment.older.stop()
    await until(lambda: _are(deployment, {VERSION + 1}))
    await deployment.until_exact(deployment.newer)
    assert await deployment.database["set_aside"].count_documents({}) == 0


async def test_a_rollback_under_traffic_loses_nothing_stops_nothing_and_a_rebuild_ends_it(
    deployment: Deployment, mongo_server: Server
) -> None:
    first, second, third = in_thirds(deployment.calls)
    database = deployment.database
    await deployment.newer.start()
    await of_newer_code(database)
    await deployment.send(first, deployment.newer)
    await deployment.older.start()
    await deployment.send(second, deployment.newer, deployment.older)
    await deployment.until_shown([*first, *second])
    await deployment.newer.stop()
    await deployment.send(third, deployment.older)
    # Nobody of the newer build is left: what is of its calls waits, and all else goes on.
    extra = generate(Parties.of(await TenantStore(database).get("acme")), seed=6, count=10, days=2, now=now_ms())
    others = [event for call in extra for event in call.events]
    await deployment.send(others, deployment.older)
    await deployment.until_shown(others)
    assert await database["set_aside"].count_documents({"needs": VERSION + 1}) > 0
    voice = Voice({"VOICE_MONGO_URL": mongo_server.url, "VOICE_MONGO_DATABASE": database.name})
    await voice.json("rebuild", "--replace-newer")
    deployment.calls = [*deployment.calls, *extra]
    await until(lambda: _are(deployment, {VERSION}))
    await deployment.until_exact(deployment.older)
    assert await database["set_aside"].count_documents({}) == 0
    stored = await database["tenants"].find_one({"_id": "acme"})
    assert stored is not None
    assert (stored["limits"], stored["retention"]["recordings"]) == ({"exports": 10}, 30)


async def _are(deployment: Deployment, versions: set[int]) -> bool:
    return await deployment.versions() == versions
