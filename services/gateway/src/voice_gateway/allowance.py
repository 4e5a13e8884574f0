"""What a response says of the caller's rate limit."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

from multidict import CIMultiDict

from voice_gateway.window import WINDOW_SECONDS, Decision


@dataclass(slots=True)  # not frozen: one is made for each request
class Allowance:
    """A tenant's limit in an area, and what is left of it."""

    area: str
    limit: int
    decision: Decision

    @property
    def retry_after(self) -> int:
        """Whole seconds until one more request is admitted."""
        return max(1, math.ceil(self.decision.free_in))

    def put_into(self, headers: CIMultiDict[str]) -> None:
        """Set the five headers of the contract (§5)."""
        full_in = self.decision.full_in
        remaining = self.decision.remaining
        headers["X-RateLimit-Limit"] = str(self.limit)
        headers["X-RateLimit-Remaining"] = str(remaining)
        headers["X-RateLimit-Reset"] = str(math.ceil(time.time() + full_in))
        headers["RateLimit-Policy"] = f'"{self.area}";q={self.limit};w={WINDOW_SECONDS}'
        headers["RateLimit"] = f'"{self.area}";r={remaining};t={math.ceil(full_in)}'
