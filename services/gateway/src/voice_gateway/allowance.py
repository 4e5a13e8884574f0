"""What a response says of the caller's rate limit."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

from voice_gateway.window import WINDOW_SECONDS, Decision

LIMIT_HEADERS = (
    "X-RateLimit-Limit",
    "X-RateLimit-Remaining",
    "X-RateLimit-Reset",
    "RateLimit-Policy",
    "RateLimit",
)


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
        limit, left, reset, policy, both = LIMIT_HEADERS
        return (
            (limit, str(self.limit)),
            (left, str(remaining)),
            (reset, str(math.ceil(time.time() + full_in))),
            (policy, f'"{self.area}";q={self.limit};w={WINDOW_SECONDS}'),
            (both, f'"{self.area}";r={remaining};t={math.ceil(full_in)}'),
        )
