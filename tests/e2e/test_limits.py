"""The limits hold over gateway processes and tokens."""

from __future__ import annotations

import asyncio

from e2e_factories import World


async def test_of_61_analytics_requests_in_a_minute_exactly_60_succeed(world: World) -> None:
    for _ in range(5):
        customers = await world.customer(tokens=2)
        answers = await asyncio.gather(
            *(
                # A connection each: the kernel spreads them over the gateway's processes.
                world.get("/api/voice/analytics/overview", customers[number % 2], Connection="close")
                for number in range(61)
            )
        )
        statuses = [answer.status for answer in answers]
        assert (statuses.count(200), statuses.count(429)) == (60, 1)
        remaining = sorted(int(answer.headers["X-RateLimit-Remaining"]) for answer in answers)
        if remaining == sorted([*range(60), 0]):  # else a busy machine kept Redis' answer for longer than is waited
            break
    assert remaining == sorted([*range(60), 0])
    assert all(answer.headers["X-RateLimit-Limit"] == "60" for answer in answers)
    refused = next(answer for answer in answers if answer.status == 429)
    assert refused.body == {"error": "Rate limit exceeded"}
    assert 1 <= int(refused.headers["Retry-After"]) <= 60
    recordings = await world.get("/api/voice/recordings/conv-123", customers[0])
    assert (recordings.status, recordings.headers["X-RateLimit-Remaining"]) == (404, "29")
