"""Who takes part in a tenant's simulated calls: what it claims, so that every event is known to be its own."""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass

from voice_common.store.tenants import ClaimKind, Tenant


class NoClaimsError(Exception):
    """The tenant claims nothing, so nobody could tell that a call is its own."""


@dataclass(frozen=True, slots=True)
class Parties:
    """A tenant's connections, assistants and numbers; at least one of them is claimed."""

    tenant: str
    connections: tuple[str, ...]
    assistants: tuple[str, ...]
    numbers: tuple[str, ...]

    @classmethod
    def of(cls, tenant: Tenant) -> Parties:
        """Give a tenant's parties; what it does not claim is made up so that nobody else claims it either.

        Raises `NoClaimsError`.
        """
        claimed = {
            kind: tuple(claim.value for claim in tenant.claims if claim.kind is kind and claim.value)
            for kind in ClaimKind
        }
        if not any(claimed.values()):
            raise NoClaimsError(
                f"The tenant {tenant.id} claims no connection, assistant or number, so nobody could tell whose the "
                f"calls are; add one with: voice tenant update {tenant.id} --connection-id ID"
            )
        made_up = int.from_bytes(hashlib.sha256(tenant.id.encode()).digest()[:8])
        assistants = claimed[ClaimKind.ASSISTANT]
        return cls(
            tenant.id,
            claimed[ClaimKind.CONNECTION] or (f"9{made_up % 10**18:018}",),
            assistants,
            # A number of its own would be looked up: an address at its assistant is nobody's number.
            claimed[ClaimKind.NUMBER] or tuple(f"sim@{name}.sip.telnyx.com" for name in assistants) or ("anonymous",),
        )

    def customer(self, rng: random.Random) -> str:
        """Give the number of somebody who talks with the tenant (of the range that is kept for fiction)."""
        return f"+1{rng.choice((212, 305, 415, 617, 702))}555{rng.randrange(100, 200):04}"
