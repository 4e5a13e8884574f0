"""The dashboard and the rules ask for what the services say, as a stack with the demo shows it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml
from e2e_factories import start_stack
from manifests import OVERLAYS, objects
from prometheus_client.parser import text_string_to_metric_families
from settings_table import ROOT

from voice_local.servers import free_port

OBSERVABILITY = ROOT / "deploy/observability"
RULES: list[dict[str, Any]] = [
    rule for group in yaml.safe_load((OBSERVABILITY / "rules.yaml").read_text())["groups"] for rule in group["rules"]
]
ALERTS = [rule for rule in RULES if "alert" in rule]
RECORDED = {rule["record"] for rule in RULES if "record" in rule}
DASHBOARD: dict[str, Any] = json.loads((OBSERVABILITY / "dashboard.json").read_text())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
ROWS = ["Objectives", "Edge", "Intake", "Projection", "Rollups", "Cache and limits", "Stores", "Quarantine"]
INTERVAL = {"$__rate_interval": "5m"}
OF_FAILURES = frozenset({"status"})
"""A label whose values are not there before something failed."""

OF_PROMETHEUS = frozenset({"up"})
LABELS = frozenset(
    {
        "area",
        "by",
        "change",
        "command",
        "kind",
        "le",
        "task",
        "method",
        "outcome",
        "purpose",
        "reason",
        "result",
        "route",
        "source",
        "state",
        "status",
        "type",
        "upstream",
    }
)
"""Each a small set of values: never a tenant, a path or an id. None is one that a ServiceMonitor sets by itself."""


@dataclass(frozen=True)
class Sample:
    """One line of a service's metrics, with the job that a scrape gives it."""

    name: str
    labels: Mapping[str, str]


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Sample]]:
    """Give what all processes of a fresh stack say once the demo's calls are there, and nobody has asked anything."""
    running = start_stack(tmp_path_factory.mktemp("observed") / "data", free_port(), "--demo")
    try:
        running.wait_for("try  ")
        urls = {f"voice-{name}": service["metrics_url"] for name, service in running.described()["services"].items()}
        worker = json.loads((running.data / "ports.json").read_text())["analytics-worker"]
        urls["voice-analytics-worker"] = f"http://127.0.0.1:{worker}/metrics"
        yield [sample for job, url in urls.items() for sample in scraped(job, url)]
    finally:
        running.process.kill()  # nobody reads its data again, and what it started ends with it
        running.process.wait()


def scraped(job: str, url: str) -> list[Sample]:
    with urllib.request.urlopen(url, timeout=10) as answer:
        text = answer.read().decode()
    return [
        Sample(sample.name, {**sample.labels, "job": job})
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    ]


def selectors(expression: str) -> list[promql_parser.VectorSelector]:
    """Parse PromQL and give what it selects."""
    for variable, value in INTERVAL.items():
        expression = expression.replace(variable, value)
    found: list[promql_parser.VectorSelector] = []

    def visit(node: promql_parser.Expr) -> bool:
        if isinstance(node, promql_parser.VectorSelector):
            found.append(node)
        return True

    promql_parser.walk(promql_parser.parse(expression), visit)
    assert found, expression
    return found


def matches(selector: promql_parser.VectorSelector, sample: Sample) -> bool:
    if sample.name != selector.name:
        return False
    for matcher in selector.matchers.matchers:
        if matcher.name in OF_FAILURES:
            continue
        value = sample.labels.get(matcher.name, "")
        if matcher.op == promql_parser.MatchOp.Re:
            right = re.fullmatch(matcher.value, value) is not None
        else:
            assert matcher.op == promql_parser.MatchOp.Equal
            right = value == matcher.value
        if not right:
            return False
    return True


def expressions() -> list[tuple[str, str]]:
    asked = [(str(rule.get("alert", rule.get("record"))), rule["expr"]) for rule in RULES]
    return asked + [(panel["title"], target["expr"]) for panel in PANELS for target in panel["targets"]]


def test_each_expression_asks_for_what_a_stack_with_the_demo_says(samples: list[Sample]) -> None:
    missing = [
        (where, str(selector))
        for where, expression in expressions()
        for selector in selectors(expression)
        if selector.name not in RECORDED | OF_PROMETHEUS and not any(matches(selector, sample) for sample in samples)
    ]
    assert missing == []


def test_panels_need_no_recorded_series_and_group_by_labels_that_are_there(samples: list[Sample]) -> None:
    labels: dict[str, set[str]] = {}
    for sample in samples:
        labels.setdefault(sample.name, {"instance"}).update(sample.labels)
    for panel in PANELS:
        for target in panel["targets"]:
            names = {str(selector.name) for selector in selectors(target["expr"])}
            assert not RECORDED & names, panel["title"]
            grouped = re.findall(r"by \(([^)]*)\)", target["expr"])
            asked = {label.strip() for group in grouped for label in group.split(",")}
            assert all(asked <= labels[name] for name in names), panel["title"]
            assert set(re.findall(r"{{(\w+)}}", target["legendFormat"])) <= asked, panel["title"]


def test_labels_are_bounded_sets_that_no_scrape_overwrites(samples: list[Sample]) -> None:
    own = [sample for sample in samples if sample.name.startswith("voice_")]
    assert {label for sample in own for label in sample.labels} - {"job"} <= LABELS
    for name in {sample.name for sample in own}:
        assert sum(sample.name == name for sample in own) < 2000, name


def test_every_process_says_how_it_uses_its_stores(samples: list[Sample]) -> None:
    jobs = {sample.labels["job"] for sample in samples}
    assert len(jobs) == 5
    for name in ("command_seconds_count", "pool_connections", "pool_failures_total"):
        assert {sample.labels["job"] for sample in samples if sample.name == f"voice_mongo_{name}"} == jobs
    purposes = {
        sample.labels["purpose"] for sample in samples if sample.name == "voice_gateway_redis_command_seconds_count"
    }
    assert purposes == {"limits", "cache"}


def test_what_an_alert_misses_is_shown_by_the_worker_alone(samples: list[Sample]) -> None:
    """Else `absent` never holds, however many workers are gone."""
    missed = {name for rule in ALERTS for name in re.findall(r"absent\((\w+)", rule["expr"])}
    assert missed == {"voice_rollup_lag_seconds"}
    assert {sample.labels["job"] for sample in samples if sample.name in missed} == {"voice-analytics-worker"}


def test_the_dashboard_has_its_rows_and_each_panel_is_drawn_once() -> None:
    assert [panel["title"] for panel in DASHBOARD["panels"] if panel["type"] == "row"] == ROWS
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
    places: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        taken = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert at["x"] + at["w"] <= 24
        assert not places & taken, panel["title"]
        places |= taken
    for panel in PANELS:
        assert {target["datasource"]["uid"] for target in panel["targets"]} == {"${datasource}"}


def test_rules_are_recorded_before_an_alert_asks_for_them() -> None:
    assert len(RECORDED) == len(RULES) - len(ALERTS)
    for rule in RULES:
        asked = {str(selector.name) for selector in selectors(rule["expr"])}
        recorded = {name for name in asked if ":" in name}
        assert recorded <= RECORDED
        assert not recorded or "alert" in rule


def test_an_alert_says_what_it_means_how_urgent_it_is_and_where_to_read_on() -> None:
    runbook = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()
    names = [rule["alert"] for rule in ALERTS]
    assert len(set(names)) == len(names)
    for rule in ALERTS:
        assert rule["alert"].startswith("Voice")
        assert rule["labels"]["severity"] in {"page", "ticket"}
        assert rule["annotations"].keys() == {"summary", "description", "runbook_url"}
        assert rule["annotations"]["runbook_url"] == f"docs/operations.md#{rule['alert'].lower()}"
        assert f"\n### {rule['alert']}\n" in runbook, f"the runbook says nothing of {rule['alert']}"


def test_each_objective_burns_fast_and_slowly_by_a_long_and_a_short_window() -> None:
    for objective in ("intake_errors", "intake_late", "projection_late", "read_errors", "read_late"):
        burning = [rule for rule in ALERTS if f"voice:{objective}:" in rule["expr"]]
        windows = {rule["labels"]["severity"]: re.findall(r"ratio_rate(\w+)", rule["expr"]) for rule in burning}
        assert windows == {"page": ["1h", "5m", "6h", "30m"], "ticket": ["1d", "2h", "3d", "6h"]}
        (budget,) = {found for rule in burning for found in re.findall(r"\* ([\d.]+)", rule["expr"])}
        assert 0 < float(budget) <= 0.01


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_jobs_that_rules_name_are_those_that_prometheus_gives(overlay: str) -> None:
    """A ServiceMonitor's job is the name of the Service that it selects."""
    services = objects(overlay, "Service")
    for monitor in objects(overlay, "ServiceMonitor").values():
        wanted = monitor["spec"]["selector"]["matchLabels"]
        jobs = [name for name, one in services.items() if wanted.items() <= one["metadata"].get("labels", {}).items()]
        assert jobs
        for job in jobs:
            assert re.fullmatch(r"voice-.+", job)
            assert (re.fullmatch(r"voice-gateway.*", job) is not None) == ("gateway" in monitor["metadata"]["name"])


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_promtool_takes_the_rules() -> None:
    checked = subprocess.run(
        ["promtool", "check", "rules", str(OBSERVABILITY / "rules.yaml")], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
