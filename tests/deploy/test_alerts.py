"""Each alert fires for what it is about, and none while all is well, as Prometheus itself reckons."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from settings_table import ROOT

RULES = ROOT / "deploy/observability/rules.yaml"
GATEWAY = 'job="voice-gateway-metrics"'
HOOK = f'{GATEWAY},route="/api/webhooks/telnyx/voice"'
READ = f'{GATEWAY},route="/api/voice/analytics/overview"'
REQUESTS, DURATION = "voice_http_requests_total", "voice_http_request_duration_seconds"
DELAY = "voice_projection_delay_seconds"
WELL = {
    f'{REQUESTS}{{{HOOK},status="200"}}': "0+600x100",
    f'{REQUESTS}{{{READ},status="200"}}': "0+600x100",
    f'{DURATION}_bucket{{{HOOK},le="1.0"}}': "0+600x100",
    f"{DURATION}_count{{{HOOK}}}": "0+600x100",
    f'{DURATION}_bucket{{{READ},le="0.5"}}': "0+600x100",
    f"{DURATION}_count{{{READ}}}": "0+600x100",
    f'{DELAY}_bucket{{le="1.0"}}': "0+600x100",
    f"{DELAY}_count": "0+600x100",
    'up{job="voice-webhooks"}': "1x100",
    'voice_gateway_breaker_open{upstream="analytics"}': "0x100",
    "voice_gateway_limiter_degraded": "0x100",
    "voice_projection_lag_seconds": "0x100",
    "voice_projection_set_aside_total": "0x100",
    'voice_background_failures_total{task="retention"}': "0x100",
    "voice_quarantine_events": "5x100",
    "voice_rollup_lag_seconds": "0x100",
    'voice_mongo_pool_failures_total{job="voice-webhooks"}': "0x100",
}
"""A hundred minutes of a quiet day: ten requests a second of each kind, all in time."""

HURRIED = {
    "VoiceIntakeAvailabilityFastBurn": {f'{REQUESTS}{{{HOOK},status="503"}}': "0+6x100"},
    "VoiceAckLatencyFastBurn": {f'{DURATION}_bucket{{{HOOK},le="1.0"}}': "0+590x100"},
    "VoiceProjectionLagFastBurn": {f'{DELAY}_bucket{{le="1.0"}}': "0+500x100"},
    "VoiceReadAvailabilityFastBurn": {f'{REQUESTS}{{{READ},status="502"}}': "0+10x100"},
    "VoiceReadLatencyFastBurn": {f'{DURATION}_bucket{{{READ},le="0.5"}}': "0+500x100"},
}
SLOW = {
    "VoiceIntakeAvailabilitySlowBurn": {f'{REQUESTS}{{{HOOK},status="499"}}': "0+1x100"},
    "VoiceAckLatencySlowBurn": {f'{DURATION}_bucket{{{HOOK},le="1.0"}}': "0+597x100"},
    "VoiceProjectionLagSlowBurn": {f'{DELAY}_bucket{{le="1.0"}}': "0+580x100"},
    "VoiceReadAvailabilitySlowBurn": {f'{REQUESTS}{{{READ},status="500"}}': "0+2x100"},
    "VoiceReadLatencySlowBurn": {f'{DURATION}_bucket{{{READ},le="0.5"}}': "0+580x100"},
}
CONDITIONS = {
    "VoiceTargetDown": {'up{job="voice-webhooks"}': "1x50 0x50"},
    "VoiceBreakerOpen": {'voice_gateway_breaker_open{upstream="analytics"}': "0x50 1x50"},
    "VoiceLimiterDegraded": {"voice_gateway_limiter_degraded": "0x50 2x50"},
    "VoiceConnectionsCrowded": {'voice_gateway_connections_ended_total{reason="room"}': "0x70 0+1x30"},
    "VoiceProjectionStalled": {"voice_projection_lag_seconds": "0x50 11x50"},
    "VoiceEventsSetAside": {"voice_projection_set_aside_total": "0x90 1x10"},
    "VoiceBackgroundFailing": {'voice_background_failures_total{task="retention"}': "0x70 0+5x30"},
    "VoiceQuarantineGrowing": {"voice_quarantine_events": "5x70 6x30"},
    "VoiceRollupLag": {"voice_rollup_lag_seconds": "0x50 61x50"},
    "VoiceStorePoolExhausted": {'voice_mongo_pool_failures_total{job="voice-webhooks"}': "0x80 0+1x20"},
}
MISSING = {"VoiceRollupWorkerMissing": {"voice_rollup_lag_seconds": "0x50 _x50"}}
FIRING = 'count by (alertname) (ALERTS{alertstate="firing"})'


def expecting(alerts: set[str], troubles: dict[str, dict[str, str]]) -> dict[str, Any]:
    """Make a test in promtool's form: what fires at the end of a quiet day that had some troubles."""
    series = WELL | {name: values for trouble in troubles.values() for name, values in trouble.items()}
    return {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [
            {
                "expr": FIRING,
                "eval_time": "100m",
                "exp_samples": [{"labels": f'{{alertname="{name}"}}', "value": 1} for name in sorted(alerts)],
            }
        ],
    }


def test_every_alert_has_its_trouble() -> None:
    groups = yaml.safe_load(RULES.read_text())["groups"]
    alerts = {rule["alert"] for group in groups for rule in group["rules"] if "alert" in rule}
    assert alerts == {*HURRIED, *SLOW, *CONDITIONS, *MISSING}


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_each_alert_fires_for_its_trouble_and_none_while_all_is_well(tmp_path: Path) -> None:
    rules = yaml.safe_load(RULES.read_text())
    for group in rules["groups"]:
        group["interval"] = "5m"  # a tenth of the evaluations; no result hangs on it
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(rules))
    tests = [
        expecting(set(), {}),
        expecting({*HURRIED, *SLOW}, HURRIED),  # what burns fast burns slowly too
        expecting({*SLOW}, SLOW),
        expecting({*CONDITIONS}, CONDITIONS),
        expecting({*MISSING}, MISSING),
    ]
    document = {"rule_files": ["rules.yaml"], "evaluation_interval": "5m", "tests": tests}
    (tmp_path / "alerts.test.yaml").write_text(yaml.safe_dump(document))
    tested = subprocess.run(
        ["promtool", "test", "rules", "alerts.test.yaml"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert tested.returncode == 0, tested.stdout + tested.stderr
