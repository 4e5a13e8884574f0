"""Webhooks are counted by their type, of which there are only so many, and projections by how late they are."""

from __future__ import annotations

import asyncio
import re
import time

from webhooks_factories import Service, event

SESSION = "1f4e8c60-3bd7-4e5a-9d2e-0b6c2b8f7a11"


async def metrics(service: Service) -> dict[str, float]:
    text = await (await service.client.get("/metrics")).text()
    return {name: float(value) for name, value in re.findall(r"^(voice_\S+) (\S+)$", text, re.MULTILINE)}


def counted(shown: dict[str, float], kind: str, result: str) -> float:
    return shown.get(f'voice_webhooks_events_total{{result="{result}",type="{kind}"}}', 0)


async def test_webhooks_are_counted_by_type_and_a_made_up_type_is_other(service: Service) -> None:
    before = await metrics(service)
    answered = event("call.answered", call_session_id=SESSION, connection_id="1001")
    assert await service.status(answered) == "accepted"
    assert await service.status(answered) == "duplicate"
    for number in range(3):
        made_up = event(f"call.made_up_{number}", call_session_id=SESSION, connection_id="1001")
        assert await service.status(made_up) == "accepted"
    assert await service.status(event("call.hangup", connection_id="nobody's")) == "quarantined"
    after = await metrics(service)
    for kind, result, more in (
        ("call.answered", "accepted", 1),
        ("call.answered", "duplicate", 1),
        ("other", "accepted", 3),
        ("call.hangup", "quarantined", 1),
    ):
        assert counted(after, kind, result) == counted(before, kind, result) + more, (kind, result)
    assert not [name for name in after if "made_up" in name]


async def test_the_delay_of_each_projected_event_is_measured(service: Service) -> None:
    name = "voice_projection_delay_seconds"
    before, begun = await metrics(service), time.monotonic()
    for _ in range(3):
        await service.status(event("call.answered", call_session_id=SESSION, connection_id="1001"))
    async with asyncio.timeout(30):
        while (after := await metrics(service))[f"{name}_count"] < before.get(f"{name}_count", 0) + 3:  # noqa: ASYNC110 - a metric is only read
            await asyncio.sleep(0.02)
    assert 0 < after[f"{name}_sum"] - before.get(f"{name}_sum", 0) < 3 * (time.monotonic() - begun)
    assert after["voice_projection_lag_seconds"] == 0
