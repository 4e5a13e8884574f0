"""What the gateway forwards: the paths, whose area they are in, and which of them are reports out of the cache."""

from __future__ import annotations

from dataclasses import dataclass

from voice_gateway.areas import ANALYTICS, CONVERSATIONS, RECORDINGS, Area, ServiceName
from voice_gateway.queries import REPORTS, Report


@dataclass(frozen=True, slots=True)
class Forwarded:
    """A path of the API; without an area it is a webhook's, whose signature is its authentication."""

    path: str
    area: Area | None = None
    report: Report | None = None

    @property
    def service(self) -> ServiceName:
        """The service behind it."""
        return ServiceName.WEBHOOKS if self.area is None else self.area.service


FORWARDED = (
    *(Forwarded(report.path, ANALYTICS, report) for report in REPORTS),
    Forwarded("/api/voice/recordings/{conversationId:[^/]+}", RECORDINGS),
    Forwarded("/api/conversations", CONVERSATIONS),
    Forwarded("/api/conversations/{id:[^/]+}", CONVERSATIONS),
    Forwarded("/api/conversations/{id:[^/]+}/messages", CONVERSATIONS),
    Forwarded("/api/webhooks/telnyx/voice"),
    Forwarded("/api/webhooks/telnyx/voice/conversational-ai"),
)
