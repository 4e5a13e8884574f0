"""What a response says of the caller's rate limit."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

from voice_gateway.window import WINDOW_SECONDS, Decision


@dataclass(slots=True)  # not frozen: one is made for each request
class Allowance:
    """A tenant's limit in an area, and what is left of it."""

    area: str
    limit: int
    decision: Decision

    def refusal_headers(self) -> dict[str, str]:
        """Say in how many whole seconds one more request is admitted."""
        return {"Retry-After": str(max(1, math.ceil(self.decision.free_in)))}

    def headers(self) -> tuple[tuple[str, str], ...]:
        """Give the five headers of the contract (§5)."""
        full_in = self.decision.full_in
        remaining = self.decision.remaining
        return (
            ("X-RateLimit-Limit", str(self.limit)),
            ("X-RateLimit-Remaining", str(remaining)),
            ("X-RateLimit-Reset", str(math.ceil(time.time() + full_in))),
            ("RateLimit-Policy", f'"{self.area}";q={self.limit};w={WINDOW_SECONDS}'),
            ("RateLimit", f'"{self.area}";r={remaining};t={math.ceil(full_in)}'),
        )
