"""What the gateway shows of itself before anything happened, and of Redis."""

from __future__ import annotations

import re

from gateway_factories import OVERVIEW, Gateway, RunGateway

from voice_local.servers import free_port


async def metrics(gateway: Gateway) -> dict[str, float]:
    async with gateway.session.get(f"{gateway.ops_url}/metrics") as answer:
        found = re.findall(r"^(voice_\S+) (\S+)$", await answer.text(), re.MULTILINE)
    return {name: float(value) for name, value in found}


async def test_what_may_fail_is_shown_before_it_does(gateway: Gateway) -> None:
    shown = await metrics(gateway)
    for upstream in ("analytics", "recordings", "webhooks"):
        assert f'voice_gateway_breaker_open{{upstream="{upstream}"}}' in shown
        assert f'voice_gateway_upstream_errors_total{{reason="slow",upstream="{upstream}"}}' in shown
    for area in ("analytics", "recordings", "conversations"):
        assert f'voice_gateway_limit_decisions_total{{area="{area}",outcome="refused",source="redis"}}' in shown
    assert f'voice_http_requests_total{{method="GET",route="{OVERVIEW}",status="200"}}' in shown
    assert f'voice_http_request_duration_seconds_count{{route="{OVERVIEW}",status="200"}}' in shown


async def test_the_time_of_redis_is_measured_by_purpose(gateway: Gateway, token: str) -> None:
    before = await metrics(gateway)
    for _ in range(3):
        await gateway.get(OVERVIEW, token)
    after = await metrics(gateway)
    assert after['voice_gateway_redis_connections{purpose="limits"}'] == 1
    counted = 'voice_gateway_redis_command_seconds_count{purpose="limits"}'
    assert after[counted] == before[counted] + 3
    summed = 'voice_gateway_redis_command_seconds_sum{purpose="limits"}'
    assert 0 < after[summed] - before[summed] < 1
    assert after['voice_gateway_redis_command_seconds_count{purpose="cache"}'] > 0


async def test_without_redis_no_connection_is_shown(run_gateway: RunGateway) -> None:
    async with run_gateway(redis_url=f"redis://127.0.0.1:{free_port()}/0") as gateway:
        shown = await metrics(gateway)
    assert shown['voice_gateway_redis_connections{purpose="limits"}'] == 0
    assert shown['voice_gateway_redis_connections{purpose="cache"}'] == 0
