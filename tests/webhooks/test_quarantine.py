from __future__ import annotations

import asyncio
import dataclasses
from typing import Any

import pytest
from voice_command import Voice
from webhooks_factories import T0, Service, Signer, body_of, event, start_service, until

from voice_common.mongo import Database
from voice_common.store.envelope import read_envelope
from voice_common.store.tenants import Claim, ClaimKind, Tenant, TenantStore
from voice_local.servers import Server
from voice_webhooks.directory import CachedDirectory
from voice_webhooks.news import News
from voice_webhooks.projection.projection import Projection
from voice_webhooks.quarantine import UNCLAIMED, Quarantine
from voice_webhooks.release import Releaser
from voice_webhooks.ties import TieStore


async def quarantined(service: Service) -> int:
    return await service.database["quarantine"].count_documents({})


async def emptied(service: Service) -> bool:
    return await quarantined(service) == 0


def connection(value: str) -> tuple[Claim, ...]:
    return (Claim(ClaimKind.CONNECTION, value),)


async def test_quarantined_events_are_released_and_projected_when_a_tenant_claims_them(
    service: Service, tenants: TenantStore
) -> None:
    unclaimed = event("call.initiated", connection_id="5005", call_session_id="s1")
    assert await service.status(unclaimed) == "quarantined"
    assert await service.status(unclaimed) == "quarantined"
    assert await quarantined(service) == 1
    await tenants.create(Tenant("late", "Late", claims=connection("5005")))
    await until(lambda: service.conversation("s1", "late"))
    await until(lambda: emptied(service))


async def test_an_event_is_released_when_another_ties_its_ids_to_a_tenants_conversation(service: Service) -> None:
    assert await service.status(event("call.hangup", call_leg_id="l1", call_session_id="s1")) == "quarantined"
    await service.status(event("call.initiated", connection_id="1001", call_leg_id="l1", call_session_id="s1"))

    async def ended() -> bool:
        document = await service.conversation("s1")
        return document is not None and document["ended_at"] is not None

    await until(ended)
    await until(lambda: emptied(service))


async def test_an_operator_reads_what_would_release_an_event_and_which_key_verified_it(
    service: Service, mongo_server: Server, signer: Signer
) -> None:
    voice = Voice({"VOICE_MONGO_URL": mongo_server.url, "VOICE_MONGO_DATABASE": service.database.name})
    held = event("call.initiated", connection_id="5005", direction="incoming", to="+13125550100")
    assert await service.status(held) == "quarantined"
    shown = await voice("events", "quarantine")
    assert "connection 5005, number +13125550100" in shown.stdout
    assert signer.public_key in shown.stdout
    stored = event("call.initiated", connection_id="1001", call_session_id="s1")
    assert await service.status(stored) == "accepted"
    (row,) = (await voice.json("events", "list", "acme"))["events"]
    assert row["key"] == signer.public_key


async def test_quarantine_releases_only_to_a_tenant_that_the_key_verifies_for(
    service: Service, tenants: TenantStore
) -> None:
    """Whoever has a key of their own can't plant events for a tenant who comes later."""
    attacker = Signer()
    await tenants.create(Tenant("attacker", "A", telnyx_public_keys=(attacker.public_key,)))
    planted = event("call.initiated", connection_id="7007", call_session_id="planted")
    honest = event("call.initiated", connection_id="7007", call_session_id="honest")
    assert await service.status(planted, signer=attacker) == "quarantined"
    assert await service.status(honest) == "quarantined"
    await tenants.create(Tenant("victim", "V", claims=connection("7007")))
    await until(lambda: service.conversation("honest", "victim"))
    assert await service.conversation("planted", "victim") is None

    async def planted_alone() -> bool:
        return await quarantined(service) == 1

    await until(planted_alone)


async def test_a_key_that_was_removed_releases_nothing(service: Service, tenants: TenantStore) -> None:
    old, new = Signer(), Signer()
    keyed = Tenant("keyed", "K", telnyx_public_keys=(old.public_key,))
    await tenants.create(keyed)
    assert (
        await service.status(event("call.initiated", connection_id="8008", call_session_id="old"), signer=old)
        == "quarantined"
    )
    await tenants.replace(Tenant("keyed", "K", telnyx_public_keys=(new.public_key,), claims=connection("8008")))
    assert (
        await service.status(event("call.initiated", connection_id="8008", call_session_id="new"), signer=new)
        == "accepted"
    )
    await until(lambda: service.conversation("new", "keyed"))

    async def looked() -> Any:
        return await service.database["quarantine"].find_one({"event": {"$ne": None}})

    assert await until(looked)
    assert await service.conversation("old", "keyed") is None


async def test_one_look_goes_on_past_what_nobody_claims(
    database: Database, tenants: TenantStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    from voice_webhooks import release  # noqa: PLC0415

    monkeypatch.setattr(release, "_PORTION", 2)
    monkeypatch.setattr(release, "_LOOK_AT_MOST_SECONDS", 60.0)
    key, quarantine, directory = Signer().public_key, Quarantine(database), CachedDirectory(tenants)
    for number in range(9):
        body = body_of(event("call.initiated", connection_id=f"9{number:03}", call_session_id=f"s{number}"))
        await quarantine.keep(body, key, read_envelope(body, received_at=T0), UNCLAIMED, received_at=T0)
    claims = tuple(claim for number in range(0, 9, 2) for claim in connection(f"9{number:03}"))
    await tenants.create(Tenant("late", "Late", claims=claims))
    projection = Projection(database, directory)
    releaser = Releaser(database, directory, TieStore(database, [key]), projection, News(), [key])
    assert await releaser.look() == 5
    assert await quarantine.count_unclaimed() == 4
    await directory.close()


async def test_an_event_that_older_code_kept_by_a_sip_address_is_released_to_its_claim(
    database: Database, mongo_server: Server, tenants: TenantStore, signer: Signer
) -> None:
    body = body_of(event("call.initiated", call_session_id="s1", direction="incoming", to="sip:desk@sip.example.com"))
    quarantine = Quarantine(database)
    await quarantine.create_indexes()
    envelope = read_envelope(body, received_at=T0)
    await quarantine.keep(body, signer.public_key, envelope, UNCLAIMED, received_at=T0)
    former = [{"kind": "number", "value": "sip:desk@sipexamplecom"}]
    await database["quarantine"].update_one({}, {"$set": {"claims": former}})
    await tenants.create(Tenant("desk", "Desk", claims=(Claim(ClaimKind.NUMBER, "sip:desk@sip.example.com"),)))
    service, stop = await start_service(database, mongo_server.url, signer)
    try:
        await until(lambda: emptied(service))
    finally:
        await stop()


async def keep_many(database: Database, key: str, count: int) -> Quarantine:
    quarantine = Quarantine(database)
    await quarantine.create_indexes()
    for number in range(count):
        body = body_of(event("call.initiated", connection_id=f"9{number:03}", call_session_id=f"s{number}"))
        await quarantine.keep(body, key, read_envelope(body, received_at=T0), UNCLAIMED, received_at=T0)
    return quarantine


async def test_a_look_at_rest_costs_the_same_however_much_waits_and_one_process_goes_round(
    database: Database, tenants: TenantStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    from voice_webhooks import release  # noqa: PLC0415

    monkeypatch.setattr(release, "_AT_REST", 3)
    key, directory = Signer().public_key, CachedDirectory(tenants)
    await keep_many(database, key, 20)
    looked_at: list[int] = []
    unclaimed = Quarantine.unclaimed

    async def counted(self: Quarantine, **more: Any) -> Any:
        found = await unclaimed(self, **more)
        looked_at.append(len(found))
        return found

    monkeypatch.setattr(Quarantine, "unclaimed", counted)
    ties, projection = TieStore(database, [key]), Projection(database, directory)
    holder, other = (Releaser(database, directory, ties, projection, News(), [key]) for _ in range(2))
    await holder.look()
    assert looked_at == [20], "all of it, once, by the directory of now"
    for _ in range(8):
        await holder.look()
        await other.look()
    assert looked_at[1:] == [3, 3, 3, 3, 3, 3, 2, 3], "a little at a time, by one of them"
    await tenants.create(Tenant("late", "Late", claims=connection("9019")))
    assert await holder.look() == 1
    await directory.close()


async def test_removed_claims_count_for_the_next_portion_of_a_release(
    database: Database, tenants: TenantStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    from voice_webhooks import release  # noqa: PLC0415

    monkeypatch.setattr(release, "_PORTION", 5)
    key, directory = Signer().public_key, CachedDirectory(tenants)
    quarantine = await keep_many(database, key, 20)
    claims = tuple(claim for number in range(20) for claim in connection(f"9{number:03}"))
    late = await tenants.create(Tenant("late", "Late", claims=claims))
    releaser = Releaser(database, directory, TieStore(database, [key]), Projection(database, directory), News(), [key])
    let_go = Releaser._let_go

    async def then_removed(self: Releaser, *more: Any) -> None:
        await let_go(self, *more)
        await tenants.replace(dataclasses.replace(late, claims=()))

    monkeypatch.setattr(Releaser, "_let_go", then_removed)
    assert await releaser.look() == 5
    assert await quarantine.count_unclaimed() == 15
    await directory.close()


async def test_a_tie_that_came_while_an_event_went_into_quarantine_releases_it(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its tie was looked for before, and the event that brings it was projected before it was kept."""
    keep, kept = Quarantine.keep, asyncio.Event()

    async def late(self: Quarantine, *told: Any, **more: Any) -> bool:
        if not kept.is_set():
            kept.set()
            own = event("call.initiated", connection_id="1001", call_session_id="s1", call_leg_id="l1")
            assert await service.status(own) == "accepted"
            await until(lambda: service.conversation("s1"))
            await asyncio.sleep(1.2)  # until the releaser has looked by what was projected
        return await keep(self, *told, **more)

    monkeypatch.setattr(Quarantine, "keep", late)
    monkeypatch.setattr("voice_webhooks.reception.ANSWER_SECONDS", 5.0)
    assert await service.status(event("call.answered", call_leg_id="l1")) == "quarantined"

    async def answered() -> bool:
        document = await service.conversation("s1")
        return document is not None and document["answered_at"] is not None

    await until(answered)


async def test_an_event_of_a_claim_of_a_kind_that_only_newer_code_knows_is_looked_at_without_it(
    database: Database,
) -> None:
    quarantine = await keep_many(database, Signer().public_key, 1)
    await database["quarantine"].update_many({}, {"$push": {"claims": {"kind": "sip_trunk", "value": "t"}}})
    (held,) = await quarantine.unclaimed(after=None, limit=10)
    assert [claim.value for claim in held.claims] == ["9000"]


async def test_a_directory_that_changes_all_the_time_keeps_no_event_from_its_turn(
    database: Database, tenants: TenantStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    from voice_webhooks import release  # noqa: PLC0415

    monkeypatch.setattr(release, "_PORTION", 5)
    monkeypatch.setattr(release, "_LOOK_AT_MOST_SECONDS", -1.0)
    key, other, directory = Signer().public_key, Signer().public_key, CachedDirectory(tenants)
    quarantine = await keep_many(database, key, 20)
    claims = tuple(claim for number in range(20) for claim in connection(f"9{number:03}"))
    late = await tenants.create(Tenant("late", "Late", claims=claims, telnyx_public_keys=(other,)))
    releaser = Releaser(database, directory, TieStore(database, [key]), Projection(database, directory), News(), [key])
    await releaser.look()
    await tenants.replace(dataclasses.replace(late, telnyx_public_keys=(other, key)))  # no claim is new by that
    for turn in range(10):
        await releaser.look()
        await tenants.create(Tenant(f"t{turn}", "T"))
    assert await quarantine.count_unclaimed() == 0
    await directory.close()
