"""What operators do with a running stack: look whether it is well, and have Telnyx send its webhooks there."""

from __future__ import annotations

import json

from e2e_factories import RunningStack, run_voice

from voice_webhooks.webhook_urls import PATHS, unreachable


def test_doctor_finds_nothing_wrong_with_a_running_stack(stack: RunningStack) -> None:
    ran = run_voice("doctor", "--data-dir", str(stack.data), "--json")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    findings = json.loads(ran.stdout)["findings"]
    assert {each["check"] for each in findings} >= {
        "MongoDB", "MongoDB version", "MongoDB replica set", "MongoDB transactions", "MongoDB clock", "Redis",
        "Redis clock", "Redis eviction", "Telnyx keys", "projection", "quarantine", "rollups",
        *(f"settings of {service}" for service in ("gateway", "webhooks", "analytics", "recordings")),
        *(f"indexes of {service}" for service in ("gateway", "webhooks", "analytics")),
    }  # fmt: skip
    # Other tests of this stack may have left events in quarantine.
    assert {each["outcome"] for each in findings if each["check"] != "quarantine"} == {"ok"}, findings


async def test_the_paths_of_the_webhooks_are_recognised_from_outside(stack: RunningStack) -> None:
    for path in PATHS:
        assert await unreachable(stack.base_url + path) is None
    assert "is not a Voice System" in str(await unreachable(stack.base_url + "/api/conversations"))
    assert "can't be reached" in str(await unreachable("https://127.0.0.1:1/"))
