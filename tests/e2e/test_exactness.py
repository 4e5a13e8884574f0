"""Figures equal those worked out from what was sent, whatever the order, for each tenant its own."""

from __future__ import annotations

import random

import pytest
from e2e_factories import Customer, World, until

from voice_common.times import HOUR_MS, render_ms
from voice_local.simulation import oracle
from voice_local.simulation.delivery import planned
from voice_local.simulation.story import Call


async def figures_equal(world: World, customer: Customer, calls: list[Call]) -> bool:
    detailed = await world.fresh("/api/voice/analytics/detailed", customer)
    assert detailed["metrics"] == oracle.metrics(calls)
    timeline = await world.fresh("/api/voice/analytics/timeline", customer)
    assert timeline["timeline"] == oracle.timeline(calls)
    return True


@pytest.mark.parametrize("count", [40, pytest.param(400, marks=[pytest.mark.soak, pytest.mark.timeout(600)])])
async def test_two_tenants_calls_shuffled_and_repeated_come_to_the_oracles_figures(world: World, count: int) -> None:
    (left,), (right,) = await world.customer(), await world.customer()
    calls = {
        left: world.calls_of(left, count=count, days=4),
        right: world.calls_of(right, count=count, days=4, seed=8),
    }
    deliveries = [each for some in calls.values() for each in planned(some, duplicates=0.3)]
    random.Random(5).shuffle(deliveries)  # noqa: S311 - no secret
    receipt = await world.send(deliveries)
    assert receipt.accepted + receipt.duplicate == len(deliveries)
    # A delivery that was made again because its answer was late may have been stored the first time.
    events = sum(len(call.events) for some in calls.values() for call in some)
    assert events - receipt.retried <= receipt.accepted <= events

    for customer, own in calls.items():
        await until(lambda customer=customer, own=own: figures_equal(world, customer, own))  # type: ignore[misc]
        for day in {render_ms(call.started_at)[:10] for call in own}:
            of_day = [call for call in own if render_ms(call.started_at).startswith(day)]
            answer = await world.fresh(f"/api/voice/analytics/detailed?start_date={day}&end_date={day}", customer)
            assert answer["metrics"] == oracle.metrics(of_day)

    start = min(call.started_at for call in calls[left]) + HOUR_MS + 1234
    end = start + 37 * HOUR_MS
    within = [call for call in calls[left] if start <= call.started_at < end]
    edges = f"start_date={render_ms(start)}&end_date={render_ms(end)}"
    answer = await world.fresh(f"/api/voice/analytics/detailed?{edges}", left)
    assert answer["metrics"] == oracle.metrics(within)


async def test_a_tenant_sees_nothing_of_another(world: World) -> None:
    (owner,), (other,) = await world.customer(), await world.customer()
    calls = world.calls_of(owner, count=3)
    await world.send(planned(calls))
    await until(lambda: figures_equal(world, owner, calls))
    assert (await world.get("/api/conversations", other)).body["conversations"] == []
    assert (await world.fresh("/api/voice/analytics/overview", other))["metrics"]["total_calls"] == 0
    for path in ("/api/voice/recordings/{}", "/api/conversations/{}", "/api/conversations/{}/messages"):
        theirs = await world.get(path.format(calls[0].session), other)
        nobodys = await world.get(path.format("no-such-call"), other)
        assert (theirs.status, theirs.body) == (nobodys.status, nobodys.body)
        assert theirs.status == 404
