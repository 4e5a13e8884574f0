"""Tenants and their claims: unique, whole changes, one version."""

from __future__ import annotations

import asyncio
import dataclasses

import pytest

from voice_common.mongo import Database
from voice_common.store.tenants import (
    AreaName,
    Claim,
    ClaimKind,
    ClaimTakenError,
    Tenant,
    TenantExistsError,
    TenantStore,
    UnknownTenantError,
)

NUMBER = Claim(ClaimKind.NUMBER, "+13125550100")
CONNECTION = Claim(ClaimKind.CONNECTION, "1494404757140276705")
ASSISTANT = Claim(ClaimKind.ASSISTANT, "assistant-1")
KEY = "r+JTUPz+FXIVFPWhf9IRtV7D2WEqUXcrfLbCVGPG5pY="


@pytest.fixture
async def store(database: Database) -> TenantStore:
    store = TenantStore(database)
    await store.create_indexes()
    return store


async def ids(store: TenantStore) -> list[str]:
    return [tenant.id for tenant in await store.list()]


@pytest.mark.parametrize("written", ["+13125550100", " +1 312 555 0100 ", "+1 (312) 555-0100", "tel:+1.312.555.0100"])
def test_a_number_has_one_form_however_it_is_written(written: str) -> None:
    assert Claim.of(ClaimKind.NUMBER, written) == NUMBER


async def test_a_tenant_is_read_back_as_it_was_created(store: TenantStore) -> None:
    claims = (CONNECTION, NUMBER)
    created = await store.create(Tenant("acme", "Acme", {AreaName.ANALYTICS: 7}, (KEY,), claims))
    assert created.created_at > 0
    read = await store.get("acme")
    assert (read.id, read.name, read.limits, read.telnyx_public_keys) == ("acme", "Acme", {"analytics": 7}, (KEY,))
    assert set(read.claims) == set(claims)
    assert read == (await store.list())[0]
    found = await store.find("acme")
    assert found is not None
    assert (found.name, found.claims, found.created_at) == ("Acme", (), created.created_at)


async def test_an_unknown_tenant_is_none_or_an_error(store: TenantStore) -> None:
    assert await store.find("acme") is None
    with pytest.raises(UnknownTenantError):
        await store.get("acme")
    with pytest.raises(UnknownTenantError):
        await store.replace(Tenant("acme", "Acme"))
    with pytest.raises(UnknownTenantError):
        await store.mark_deleted("acme")


async def test_an_id_is_taken_once(store: TenantStore) -> None:
    await store.create(Tenant("acme", "Acme"))
    with pytest.raises(TenantExistsError):
        await store.create(Tenant("acme", "Another", claims=(NUMBER,)))
    assert (await store.get("acme")).name == "Acme"
    assert (await store.directory()).claims == {}


async def test_a_claim_is_unique_and_a_second_tenants_is_refused(store: TenantStore) -> None:
    await store.create(Tenant("acme", "Acme", claims=(NUMBER,)))
    with pytest.raises(ClaimTakenError) as refused:
        await store.create(Tenant("other", "Other", claims=(CONNECTION, NUMBER)))
    assert refused.value.claim == NUMBER
    directory = await store.directory()
    assert await ids(store) == ["acme"]
    assert directory.claims == {NUMBER: "acme"}  # the good claim of the refused tenant is not kept
    assert directory.version == 1


async def test_one_value_of_two_kinds_is_two_claims(store: TenantStore) -> None:
    await store.create(Tenant("acme", "Acme", claims=(Claim(ClaimKind.CONNECTION, "1"),)))
    await store.create(Tenant("other", "Other", claims=(Claim(ClaimKind.ASSISTANT, "1"),)))
    assert len((await store.directory()).claims) == 2


async def test_a_replacement_changes_all_but_the_id_and_age(store: TenantStore) -> None:
    created = await store.create(Tenant("acme", "Acme", {AreaName.ANALYTICS: 7}, (KEY,), (NUMBER, CONNECTION)))
    await store.replace(Tenant("acme", "New", {AreaName.RECORDINGS: 3}, (), (CONNECTION, ASSISTANT)))
    read = await store.get("acme")
    assert (read.name, read.limits, read.telnyx_public_keys) == ("New", {"recordings": 3}, ())
    assert set(read.claims) == {CONNECTION, ASSISTANT}
    assert read.created_at == created.created_at
    await store.create(Tenant("other", "Other", claims=(NUMBER,)))  # what was given up is free


async def test_a_refused_replacement_changes_nothing(store: TenantStore) -> None:
    await store.create(Tenant("acme", "Acme", claims=(NUMBER,)))
    await store.create(Tenant("other", "Other", claims=(CONNECTION,)))
    before = await store.directory()
    with pytest.raises(ClaimTakenError):
        await store.replace(Tenant("other", "Renamed", claims=(NUMBER,)))
    assert await store.directory() == before


async def test_deleting_frees_the_claims_and_tokens_but_not_the_id_until_it_is_forgotten(
    store: TenantStore, database: Database
) -> None:
    await store.create(Tenant("acme", "Acme", claims=(NUMBER,)))
    await database["api_tokens"].insert_many([{"_id": "a", "tenant": "acme"}, {"_id": "b", "tenant": "other"}])
    await store.mark_deleted("acme")
    await store.mark_deleted("acme")
    assert await store.find("acme") is None
    assert await ids(store) == []
    assert [token["_id"] async for token in database["api_tokens"].find()] == ["b"]
    with pytest.raises(UnknownTenantError):
        await store.replace(Tenant("acme", "Back"))
    await store.create(Tenant("other", "Other", claims=(NUMBER,)))
    with pytest.raises(TenantExistsError):
        await store.create(Tenant("acme", "Acme"))
    await store.forget("acme")
    await store.create(Tenant("acme", "Acme"))
    assert await ids(store) == ["acme", "other"]


async def test_forgetting_leaves_a_living_tenant_alone(store: TenantStore) -> None:
    await store.create(Tenant("acme", "Acme"))
    await store.forget("acme")
    assert await ids(store) == ["acme"]


async def test_every_change_moves_the_version_and_a_refused_one_does_not(store: TenantStore) -> None:
    versions = [await store.version()]
    await store.create(Tenant("acme", "Acme", claims=(NUMBER,)))
    versions.append(await store.version())
    await store.replace(Tenant("acme", "Acme", telnyx_public_keys=(KEY,)))
    versions.append(await store.version())
    await store.mark_deleted("acme")
    versions.append(await store.version())
    assert versions == sorted(set(versions))
    with pytest.raises(UnknownTenantError):
        await store.replace(Tenant("nobody", "Nobody"))
    await store.create_indexes()
    assert await store.version() == versions[-1] == (await store.directory()).version


async def test_of_many_who_claim_one_thing_at_once_one_gets_it(store: TenantStore) -> None:
    names = [f"tenant-{number}" for number in range(8)]
    outcomes = await asyncio.gather(
        *(store.create(Tenant(name, name, claims=(NUMBER,))) for name in names), return_exceptions=True
    )
    winners = [outcome.id for outcome in outcomes if isinstance(outcome, Tenant)]
    assert len(winners) == 1
    assert sum(isinstance(outcome, ClaimTakenError) for outcome in outcomes) == len(names) - 1
    directory = await store.directory()
    assert directory.claims == {NUMBER: winners[0]}
    assert list(directory.tenants) == winners
    assert directory.version == 1


async def test_of_many_who_create_one_id_at_once_one_does(store: TenantStore) -> None:
    outcomes = await asyncio.gather(
        *(store.create(Tenant("acme", f"Name {number}")) for number in range(6)), return_exceptions=True
    )
    made = [outcome for outcome in outcomes if isinstance(outcome, Tenant)]
    assert len(made) == 1
    assert sum(isinstance(outcome, TenantExistsError) for outcome in outcomes) == 5
    assert (await store.get("acme")).name == made[0].name


async def test_changes_at_once_are_all_counted(store: TenantStore) -> None:
    names = [f"tenant-{number}" for number in range(6)]
    await asyncio.gather(*(store.create(Tenant(name, name)) for name in names))
    await asyncio.gather(*(store.replace(Tenant(name, "New")) for name in names))
    assert await store.version() == 12
    assert await ids(store) == names


async def of_newer_code(database: Database) -> None:
    """Store what newer code would for a tenant: a limit, a retention and a claim of names that this code has not."""
    changes = {"limits.exports": 10, "retention.recordings": 30, "retention.partials": 3}
    await database["tenants"].update_one({"_id": "acme"}, {"$set": changes})
    await database["claims"].insert_one({"_id": {"kind": "sip_trunk", "value": "t-1"}, "tenant": "acme"})


async def test_names_that_only_newer_code_knows_are_skipped(store: TenantStore, database: Database) -> None:
    await store.create(Tenant("acme", "Acme", {AreaName.ANALYTICS: 7}, (KEY,), (NUMBER,)))
    await store.create(Tenant("other", "Other", claims=(CONNECTION,)))
    await of_newer_code(database)
    directory = await store.directory()
    assert directory.claims == {NUMBER: "acme", CONNECTION: "other"}
    assert directory.tenants["acme"].limits == {"analytics": 7}
    assert (await store.retentions())["acme"] == {"partials": 3, "events": None, "conversations": None}
    assert (await store.get("acme")).claims == (NUMBER,)


async def test_names_that_only_newer_code_knows_survive_a_change_of_the_tenant(
    store: TenantStore, database: Database
) -> None:
    await store.create(Tenant("acme", "Acme", {AreaName.ANALYTICS: 7}, (KEY,), (NUMBER,)))
    await of_newer_code(database)
    tenant = await store.get("acme")
    await store.replace(dataclasses.replace(tenant, limits={AreaName.RECORDINGS: 9}, claims=(CONNECTION,)))
    stored = await database["tenants"].find_one({"_id": "acme"})
    assert stored is not None
    assert stored["limits"] == {"exports": 10, "recordings": 9}
    assert stored["retention"]["recordings"] == 30
    claimed = {claim["_id"]["kind"] async for claim in database["claims"].find({"tenant": "acme"})}
    assert claimed == {"connection", "sip_trunk"}


async def test_deleting_a_tenant_ends_claims_of_every_kind(store: TenantStore, database: Database) -> None:
    await store.create(Tenant("acme", "Acme", claims=(NUMBER,)))
    await of_newer_code(database)
    await store.mark_deleted("acme")
    assert await database["claims"].count_documents({}) == 0
