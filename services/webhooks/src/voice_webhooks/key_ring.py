"""The keys that count for a webhook: which of them made its signature."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from voice_common.identity import Check
from voice_common.store.tenants import Directory, Tenant
from voice_webhooks.signature import raw_key
from voice_webhooks.tenancy import known_keys, trusted_keys
from voice_webhooks.verifications import VerificationBudget


class KeyRing:
    """Telnyx' public keys, the system's own and the tenants'; `check` tells of one whether it made a signature."""

    def __init__(self, system_keys: Sequence[str], budget: VerificationBudget, check: Check) -> None:
        self._system_keys = system_keys
        self._budget = budget
        self._check = check

    async def verifier_of(self, tenant: Tenant, signed: bytes) -> str | None:
        """Give the first of the keys that count for a tenant that made the signature."""
        return await self._first(signed, trusted_keys(tenant, self._system_keys))

    async def any_verifier(self, directory: Directory, signed: bytes) -> str | None:
        """Give the first known key that made the signature; each try is paid for out of the budget."""
        return await self._first(signed, self._budget.spend_on(known_keys(directory, self._system_keys)))

    async def _first(self, signed: bytes, keys: Iterable[str]) -> str | None:
        for key in keys:
            if await self._check(raw_key(key), signed):
                return key
        return None
