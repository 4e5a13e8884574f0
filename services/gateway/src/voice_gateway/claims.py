"""What a JWT says of tenant and scopes, in the forms in which identity providers say it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from voice_common.ids import is_tenant_id

SCOPE_CLAIMS = ("scope", "scp", "scopes")
"""Where scopes are looked for unless a claim is set; the first that is there counts."""


class ClaimError(Exception):
    """A claim is not there, or of no use; `reason` is a word for metrics, `looked_for` the claim's name."""

    def __init__(self, reason: str, looked_for: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.looked_for = looked_for


@dataclass(frozen=True, slots=True)
class ClaimNames:
    """Which claims say whose a token is and what it may; `scope_prefix` stands before each of its scopes."""

    tenant: str = "tenant_id"
    scope: str | None = None
    scope_prefix: str = ""

    def tenant_of(self, claims: Mapping[str, Any]) -> str:
        """Give the tenant's id; raise `ClaimError` where there is no text that can be one."""
        tenant = find_claim(claims, self.tenant)
        if not isinstance(tenant, str) or not is_tenant_id(tenant):
            raise ClaimError("tenant_claim", self.tenant)
        return tenant

    def scopes_of(self, claims: Mapping[str, Any]) -> frozenset[str]:
        """Give the scopes: words of a text, or texts of an array; none where the claim is not there.

        With a prefix only those that begin with it count: others are another resource's. Raises `ClaimError` where
        the claim is something else.
        """
        for name in SCOPE_CLAIMS if self.scope is None else (self.scope,):
            said = find_claim(claims, name)
            if said is None:
                continue
            words = said.split(" ") if isinstance(said, str) else said
            if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
                raise ClaimError("scope_claim", name)
            prefix = self.scope_prefix
            return frozenset(word.removeprefix(prefix) for word in words if word.startswith(prefix)) - {""}
        return frozenset()


def find_claim(claims: Mapping[str, Any], name: str) -> object:
    """Give the claim of a name, ``None`` where there is none.

    The literal name wins, as namespaced claims are URLs; else dots lead into objects. Of an object in which the next
    name is not found, the only member is looked into: Keycloak's ``organization`` is an object of the organizations
    by alias, ``{"acme": {"id": "…"}}``. With several members it is open which is meant, and nothing is found.
    """
    if name in claims:
        return claims[name]
    at = name.rfind(".")
    while at > 0:
        inner, rest = claims.get(name[:at]), name[at + 1 :]
        if isinstance(inner, dict):
            found = find_claim(inner, rest)
            if found is None and len(inner) == 1:
                (only,) = inner.values()
                found = find_claim(only, rest) if isinstance(only, dict) else None
            if found is not None:
                return found
        at = name.rfind(".", 0, at)
    return None
