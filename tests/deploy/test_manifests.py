"""The manifests are valid, hardened, and of one piece."""

from __future__ import annotations

import functools
import json
import os
import re
import subprocess
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import kubernetes_validate
import kubernetes_validate.utils
import pytest
import yaml
from custom_resources import CUSTOM
from manifests import (
    KUBERNETES,
    OVERLAYS,
    SECRETS,
    Workload,
    deployments,
    documents,
    objects,
    our_workloads,
    rendered,
    workloads,
)
from settings_table import ROOT

from voice_common.serving import _options
from voice_common.settings import ServiceSettings

CHECKOV = ROOT / ".venv/checkov/bin/checkov"
HASHED = re.compile(r"-[a-z0-9]{10}$")
NAME = "app.kubernetes.io/name"

pytestmark = pytest.mark.parametrize("overlay", OVERLAYS)


@pytest.fixture(autouse=True)
def _schemas_are_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kubernetes_validate.utils, "schema_contents", _schema_contents)


_schema_contents = functools.cache(kubernetes_validate.utils.schema_contents)


def test_an_overlay_renders_without_a_warning(overlay: str) -> None:
    outcome = rendered(f"overlays/{overlay}")
    assert (outcome.returncode, outcome.stderr) == (0, "")


def test_every_object_fits_the_schemas_of_the_current_kubernetes(overlay: str) -> None:
    version = kubernetes_validate.latest_version()
    for document in documents(overlay):
        if document["kind"] in CUSTOM:
            CUSTOM[document["kind"]].model_validate(document)
        else:
            kubernetes_validate.validate(document, version, strict=True)


def test_every_object_has_the_common_labels_and_the_overlays_namespace(overlay: str) -> None:
    (namespace,) = objects(overlay, "Namespace")
    for document in documents(overlay):
        metadata = document["metadata"]
        name = f"{document['kind']} {metadata['name']}"
        assert metadata.get("namespace", namespace) == namespace, name
        assert metadata["labels"]["app.kubernetes.io/instance"] == f"voice-{overlay}", name
        assert metadata["labels"]["app.kubernetes.io/managed-by"] == "kustomize", name
    for workload in our_workloads(overlay):
        assert workload.labels["app.kubernetes.io/part-of"] == "voice"
        assert workload.labels[NAME] == workload.name
        assert workload.labels["app.kubernetes.io/component"] == workload.name.removeprefix("voice-")


def test_the_namespace_enforces_restricted_pod_security(overlay: str) -> None:
    (namespace,) = objects(overlay, "Namespace").values()
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


def test_every_pod_is_confined(overlay: str) -> None:
    for workload in workloads(overlay):
        pod, container = workload.pod, workload.container
        assert pod["automountServiceAccountToken"] is False, workload.name
        account = objects(overlay, "ServiceAccount")[pod["serviceAccountName"]]
        assert account["automountServiceAccountToken"] is False, workload.name
        # What Services' names make of themselves in the environment begins with VOICE_ too.
        assert pod["enableServiceLinks"] is False, workload.name
        assert pod["securityContext"]["runAsNonRoot"] is True, workload.name
        assert pod["securityContext"]["runAsUser"] == 10001, workload.name
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, workload.name
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }, workload.name
        assert container["resources"]["requests"].keys() == {"cpu", "memory"}, workload.name
        assert container["resources"]["limits"].keys() == {"cpu", "memory"}, workload.name
        assert not re.search(r":latest$|/[^:]*$", container["image"]), workload.name


@pytest.fixture(scope="module")
def checked(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Give what checkov says of all overlays, looked at in one run: starting it costs more than looking."""
    if not CHECKOV.exists():
        assert "CI" not in os.environ, "checkov is missing: make test installs it"
        pytest.skip("checkov is not installed; make test installs it into .venv/checkov")
    folder = tmp_path_factory.mktemp("rendered")
    command: list[str | Path] = [CHECKOV, "--config-file", KUBERNETES / "checkov.yaml", "--output", "json"]
    for overlay in OVERLAYS:
        (folder / f"{overlay}.yaml").write_text(rendered(f"overlays/{overlay}").stdout)
        command += ["--file", folder / f"{overlay}.yaml"]
    outcome = subprocess.run(command, capture_output=True, text=True, check=False)
    said: dict[str, Any] = json.loads(outcome.stdout)
    return said


def test_every_object_passes_checkovs_policies(overlay: str, checked: dict[str, Any]) -> None:
    assert checked["summary"]["resource_count"] > 100
    assert checked["summary"]["parsing_errors"] == 0
    failed = checked["results"]["failed_checks"]
    assert [
        f"{check['check_id']} {check['check_name']}: {check['resource']}"
        for check in failed
        if check["file_path"].endswith(f"{overlay}.yaml")
    ] == []


def test_every_exception_from_checkovs_policies_has_a_reason(overlay: str) -> None:
    for document in documents(overlay):
        for name, value in document["metadata"].get("annotations", {}).items():
            if name.startswith("checkov.io/skip"):
                assert re.fullmatch(r"CKV\w+=.{20,}", value), document["metadata"]["name"]
    config = (KUBERNETES / "checkov.yaml").read_text()
    assert {*yaml.safe_load(config)["skip-check"]} == set(
        re.findall(r"^  # (CKV\w+), [^:]+: .{20,}", config, re.MULTILINE)
    )


def test_a_rolling_update_loses_no_request(overlay: str) -> None:
    for workload in deployments(overlay):
        rolling = workload.document["spec"]["strategy"]["rollingUpdate"]
        assert rolling["maxUnavailable"] == 0, workload.name
        assert rolling["maxSurge"] >= 1, workload.name
        told = ServiceSettings(drain_seconds=float(workload.environment()["VOICE_DRAIN_SECONDS"]))
        drain = _options(told, [])["graceful_timeout"]
        assert isinstance(drain, int)
        assert drain > told.drain_seconds, "gunicorn kills no worker that still drains"
        pause = workload.container["lifecycle"]["preStop"]["sleep"]["seconds"]
        readiness = workload.container["readinessProbe"]
        assert pause >= 3, workload.name
        assert pause + drain + 3 <= workload.pod["terminationGracePeriodSeconds"], workload.name
        # A dependency that hangs must be what readyz says, not a probe that ran out of time.
        assert readiness["timeoutSeconds"] > 1, workload.name


def test_pods_are_spread_over_zones_and_nodes(overlay: str) -> None:
    for workload in deployments(overlay):
        constraints = workload.pod["topologySpreadConstraints"]
        assert [constraint["topologyKey"] for constraint in constraints] == [
            "topology.kubernetes.io/zone",
            "kubernetes.io/hostname",
        ]
        assert all(selects(constraint["labelSelector"], workload) for constraint in constraints), workload.name


def selects(selector: dict[str, Any], workload: Workload) -> bool:
    wanted = selector.get("matchLabels", {})
    matched = all(workload.labels.get(key) == value for key, value in wanted.items())
    return matched and all(
        expression["operator"] == "In" and workload.labels.get(expression["key"]) in expression["values"]
        for expression in selector.get("matchExpressions", [])
    )


def test_a_disruption_takes_one_pod_of_a_program_at_a_time(overlay: str) -> None:
    budgets = objects(overlay, "PodDisruptionBudget")
    for workload in deployments(overlay):
        budget = budgets.pop(workload.name)["spec"]
        assert selects(budget["selector"], workload)
        assert budget["maxUnavailable"] == 1
    assert budgets == {}


def test_autoscalers_move_what_exists_and_nobody_else_does(overlay: str) -> None:
    scaled = {
        scaler["spec"]["scaleTargetRef"]["name"]: scaler["spec"]
        for scaler in objects(overlay, "HorizontalPodAutoscaler").values()
    }
    found = {workload.name: workload for workload in deployments(overlay)}
    assert scaled.keys() <= found.keys()
    for name, bounds in scaled.items():
        assert "replicas" not in found[name].document["spec"], name
        assert 2 <= bounds["minReplicas"] < bounds["maxReplicas"], name
    # It keeps the rollups under a lease: a second one waits, a third one is of no use.
    assert "voice-analytics-worker" not in scaled


def test_a_changed_configuration_is_a_new_pod_template(overlay: str) -> None:
    maps = objects(overlay, "ConfigMap")
    assert [name for name in maps if not HASHED.search(name)] == []
    assert [name for name in objects(overlay, "Secret") if not HASHED.search(name)] == []
    used = {
        source["configMapRef"]["name"]
        for workload in our_workloads(overlay)
        for source in workload.container["envFrom"]
        if "configMapRef" in source
    }
    assert used == maps.keys()


def test_secrets_come_by_reference_and_the_guide_names_each(overlay: str) -> None:
    guide = (ROOT / "docs/deploy.md").read_text()
    for workload in our_workloads(overlay):
        for variable in workload.container["env"]:
            name = variable["name"]
            secret = re.search(r"(MONGO|REDIS)_URL$|_KEYS?$", name)
            assert bool(secret) == ("secretKeyRef" in variable.get("valueFrom", {})), f"{workload.name}: {name}"
    for name, key in SECRETS:
        assert re.search(rf"`{name}`[^\n]*`{key}`", guide), f"{name} {key}"


def test_services_lead_to_pods_that_listen(overlay: str) -> None:
    for name, service in objects(overlay, "Service").items():
        (found,) = [one for one in workloads(overlay) if selects({"matchLabels": service["spec"]["selector"]}, one)]
        for port in service["spec"]["ports"]:
            assert found.port(port["targetPort"]) == port["port"], name


def test_monitors_read_every_programs_metrics(overlay: str) -> None:
    monitors = objects(overlay, "ServiceMonitor")
    if overlay == "dev":
        assert monitors == {}
        return
    assert monitors.keys() == {workload.name for workload in deployments(overlay)}
    for name, monitor in monitors.items():
        labels = monitor["spec"]["selector"]["matchLabels"]
        (service,) = [
            one for one in objects(overlay, "Service").values() if labels.items() <= one["metadata"]["labels"].items()
        ]
        ports = {port["name"] for port in service["spec"]["ports"]}
        assert {endpoint["port"] for endpoint in monitor["spec"]["endpoints"]} <= ports, name
        assert service["spec"]["selector"][NAME] == name


def test_everything_is_denied_that_no_policy_allows(overlay: str) -> None:
    policies = objects(overlay, "NetworkPolicy")
    assert policies["deny-all"]["spec"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    every = list(workloads(overlay))
    ports = {port["name"]: port["containerPort"] for one in every for port in one.container.get("ports", [])}
    for name, policy in policies.items():
        spec = policy["spec"]
        assert any(selects(spec["podSelector"], one) for one in every), name
        for rule in spec.get("ingress", []) + spec.get("egress", []):
            assert rule["ports"], name
            for peer in rule.get("from", []) + rule.get("to", []):
                assert peer, f"{name} lets everybody in or out"
                if "ipBlock" in peer:
                    assert ip_network(peer["ipBlock"]["cidr"]).prefixlen > 0, name
                elif "namespaceSelector" not in peer:
                    assert any(selects(peer["podSelector"], one) for one in every), name
            for port in rule["ports"]:
                assert isinstance(port["port"], int) or port["port"] in ports, name


def may_talk(overlay: str, caller: Workload, called: Workload, port: str) -> bool:
    """Tell whether policies let a pod of this namespace reach another's named port, at both ends."""
    policies = [policy["spec"] for policy in objects(overlay, "NetworkPolicy").values()]

    def allowed(of: Workload, other: Workload, rules: str, peers: str) -> bool:
        return any(
            any(selects(peer.get("podSelector", {}), other) and "namespaceSelector" not in peer for peer in rule[peers])
            and any(entry["port"] in {port, called.port(port)} for entry in rule["ports"])
            for spec in policies
            if selects(spec["podSelector"], of)
            for rule in spec.get(rules, [])
        )

    return allowed(caller, called, "egress", "to") and allowed(called, caller, "ingress", "from")


def test_only_the_gateway_reaches_the_services_and_nobody_its_metrics(overlay: str) -> None:
    found = {workload.name: workload for workload in our_workloads(overlay)}
    talking = {
        (caller.name, called.name, port["name"])
        for caller in found.values()
        for called in found.values()
        for port in called.container.get("ports", [])
        if may_talk(overlay, caller, called, port["name"])
    }
    behind = ("voice-analytics", "voice-recordings", "voice-webhooks")
    assert talking == {("voice-gateway", name, "http") for name in behind}


def test_the_stores_are_reached_by_those_who_need_them(overlay: str) -> None:
    policies = [policy["spec"] for policy in objects(overlay, "NetworkPolicy").values()]
    for variable, port in (("VOICE_MONGO_URL", 27017), ("VOICE_REDIS_URL", 6379)):
        names = {"mongo": 27017, "redis": 6379}
        for workload in our_workloads(overlay):
            reaches = any(
                selects(spec["podSelector"], workload)
                and any(names.get(entry["port"], entry["port"]) == port for entry in rule["ports"])
                for spec in policies
                for rule in spec.get("egress", [])
            )
            assert reaches == (variable in workload.environment()), f"{workload.name} {variable}"


def test_the_route_leads_to_the_public_port_and_never_to_the_metrics(overlay: str) -> None:
    routes = objects(overlay, "HTTPRoute")
    assert len(routes) == (0 if overlay == "dev" else 1)
    for route in routes.values():
        backends = [backend for rule in route["spec"]["rules"] for backend in rule["backendRefs"]]
        for backend in backends:
            service = objects(overlay, "Service")[backend["name"]]["spec"]
            assert [port["port"] for port in service["ports"]] == [backend["port"]]
            assert [port["name"] for port in service["ports"]] == ["http"]
        (parent,) = route["spec"]["parentRefs"]
        (rule,) = objects(overlay, "NetworkPolicy")["voice-gateway"]["spec"]["ingress"]
        (peer,) = rule["from"]
        assert peer["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"] == parent["namespace"]
        assert rule["ports"] == [{"port": "http"}]
    assert [kind for kind in ("Ingress", "Gateway") if objects(overlay, kind)] == []
    exposed = {service["spec"].get("type", "ClusterIP") for service in objects(overlay, "Service").values()}
    assert exposed == {"ClusterIP"}
