"""The areas of the API: each has a scope, a rate limit and a service behind it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

from voice_common.store.tenants import AreaName


class ServiceName(StrEnum):
    """A service behind the gateway; also the audience of the identity that is signed for it."""

    ANALYTICS = "analytics"
    RECORDINGS = "recordings"
    WEBHOOKS = "webhooks"


@dataclass(frozen=True)
class Area:
    """One area: `limit` is the default of requests in any 60 s."""

    name: AreaName
    service: ServiceName
    limit: int

    @cached_property
    def scope(self) -> str:
        """The scope that a token needs here."""
        return f"{self.name}:read"


ANALYTICS = Area(AreaName.ANALYTICS, ServiceName.ANALYTICS, 60)
RECORDINGS = Area(AreaName.RECORDINGS, ServiceName.RECORDINGS, 30)
CONVERSATIONS = Area(AreaName.CONVERSATIONS, ServiceName.RECORDINGS, 120)
AREAS = (ANALYTICS, RECORDINGS, CONVERSATIONS)
SCOPES = tuple(area.scope for area in AREAS)
