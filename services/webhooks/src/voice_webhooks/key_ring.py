"""The keys that count for a webhook: which of them made its signature."""

from __future__ import annotations

from collections.abc import Sequence

from voice_common.identity import Check
from voice_common.store.tenants import Directory, Tenant
from voice_webhooks.signature import raw_key
from voice_webhooks.tenancy import known_keys, trusted_keys
from voice_webhooks.verifications import VerificationBudget


class KeyRing:
    """Telnyx' public keys, the system's own and the tenants'; `check` tells of one whether it made a signature."""

    def __init__(self, system_keys: Sequence[str], budget: VerificationBudget, check: Check) -> None:
        self.system_keys = system_keys
        self.budget = budget
        self.check = check

    def trial(self, signed: bytes) -> Trial:
        """Begin to look for the key that made one webhook's signature."""
        return Trial(self, signed)


class Trial:
    """One webhook's signature: each key is tried at most once, however many directories name it.

    Who forges a webhook makes the service look into newer and newer directories, with the same keys in each.
    """

    def __init__(self, ring: KeyRing, signed: bytes) -> None:
        self._ring = ring
        self._signed = signed
        self._made_it: dict[str, bool] = {}

    async def verifier_of(self, tenant: Tenant) -> str | None:
        """Give the first of the keys that count for a tenant that made the signature."""
        for key in trusted_keys(tenant, self._ring.system_keys):
            if await self._made_by(key):
                return key
        return None

    async def any_verifier(self, directory: Directory) -> str | None:
        """Give the first known key that made the signature; each try is paid for out of the budget."""
        for key in known_keys(directory, self._ring.system_keys):
            if key not in self._made_it:
                self._ring.budget.spend()
            if await self._made_by(key):
                return key
        return None

    async def _made_by(self, key: str) -> bool:
        made = self._made_it.get(key)
        if made is None:
            made = self._made_it[key] = await self._ring.check(raw_key(key), self._signed)
        return made
