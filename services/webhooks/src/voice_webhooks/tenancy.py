"""Whose event this is, and whether a key that counts for that tenant signed it. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from voice_common.numbers import former_number, is_sip
from voice_common.store.envelope import Envelope, read_id
from voice_common.store.tenants import Claim, ClaimKind, Directory, Tenant
from voice_webhooks.contribution.legs import direction_of


def claims_of(envelope: Envelope) -> list[Claim]:
    """Give the claims that would make the event a tenant's, in the order in which they count.

    A number counts only where the event says the direction: the called one of an incoming call, the calling
    one of an outgoing call.
    """
    payload = envelope.payload
    direction = direction_of(payload.get("direction"))
    number = payload.get("to") if direction == "inbound" else payload.get("from") if direction == "outbound" else None
    named = (
        (ClaimKind.CONNECTION, payload.get("connection_id")),
        (ClaimKind.ASSISTANT, payload.get("assistant_id")),
        (ClaimKind.NUMBER, number),
    )
    found = []
    for kind, said in named:
        value = read_id(said)
        claim = None if value is None else Claim.of(kind, value)
        if value is None or claim is None:
            continue
        found.append(claim)
        if kind is ClaimKind.NUMBER and is_sip(claim.value):
            # Claims of SIP addresses that older code stored go on to count.
            found.append(Claim(kind, former_number(value)))
    return found


def claimant(directory: Directory, claims: Sequence[Claim]) -> Tenant | None:
    """Give the tenant that holds the first of `claims` that anyone holds."""
    for claim in claims:
        if (holder := directory.claims.get(claim)) is not None and holder in directory.tenants:
            return directory.tenants[holder]
    return None


def trusted_keys(tenant: Tenant, system_keys: Sequence[str]) -> Sequence[str]:
    """Give the keys that verify a tenant's events: its own alone where it has any, else the system's."""
    return tenant.telnyx_public_keys or system_keys


def known_keys(directory: Directory, system_keys: Sequence[str]) -> Iterator[str]:
    """Give every known key once, the system's first."""
    seen = set(system_keys)
    yield from dict.fromkeys(system_keys)
    for tenant_id in sorted(directory.tenants):
        for key in directory.tenants[tenant_id].telnyx_public_keys:
            if key not in seen:
                seen.add(key)
                yield key
