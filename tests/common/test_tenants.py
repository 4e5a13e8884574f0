from voice_common.mongo import Database
from voice_common.store.tenants import Claim, ClaimKind, ClaimTakenError, Tenant, TenantStore
import pytest


async def test_a_claim_is_unique_and_a_second_tenants_is_refused(database: Database) -> None:
    store = TenantStore(database)
    await store.create_indexes()
    claim = Claim.of(ClaimKind.NUMBER, "+1 312-555 0100")
    await store.create(Tenant("acme", "Acme", claims=(claim,)))
    with pytest.raises(ClaimTakenError):
        await store.create(Tenant("other", "Other", claims=(claim,)))
    assert [tenant.id for tenant in await store.list()] == ["acme"]
    directory = await store.directory()
    assert directory.claims == {claim: "acme"}
    assert directory.version == 1
