"""What a forged webhook costs: signature verifications, counted."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from webhooks_factories import Service, Signer, event

from voice_common.store.tenants import Tenant, TenantStore
from voice_webhooks.verifying import Verifying


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch) -> Counter[bytes]:
    """Count by key what is checked of a webhook; the gateway's identities are not."""
    counted, check = Counter[bytes](), Verifying.check

    async def counting(self: Verifying, key: bytes, signed: bytes) -> bool:
        counted[key] += b"event_type" in signed or b"no json" in signed
        return await check(self, key, signed)

    monkeypatch.setattr(Verifying, "check", counting)
    return counted


@pytest.mark.parametrize(
    "body",
    [
        event("call.initiated", connection_id="1001", call_session_id="s1"),
        event("call.initiated", connection_id="9009", call_session_id="s1"),
        b"no json",
    ],
    ids=["claimed", "unclaimed", "unreadable"],
)
async def test_a_forged_webhook_costs_one_verification_a_key(
    tried: Counter[bytes], service: Service, tenants: TenantStore, body: dict[str, Any] | bytes
) -> None:
    await tenants.create(Tenant("keyed", "Keyed", telnyx_public_keys=(Signer().public_key,)))
    tried.clear()
    assert (await service.post(body, signer=Signer())).status == 401
    assert {count for count in tried.values() if count} == {1}
