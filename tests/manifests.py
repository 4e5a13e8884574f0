"""The rendered Kubernetes manifests, and what the containers in them are told."""

from __future__ import annotations

import base64
import functools
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic_settings import BaseSettings
from settings_table import ROOT

from voice_analytics.settings import AnalyticsSettings, WorkerSettings
from voice_common.identity import new_key_pair
from voice_common.settings import StoreSettings
from voice_gateway.settings import GatewaySettings
from voice_recordings.settings import RecordingsSettings
from voice_webhooks.settings import WebhooksSettings

KUBERNETES = ROOT / "deploy/kubernetes"
OVERLAYS = sorted(path.name for path in (KUBERNETES / "overlays").iterdir())
KUBECTL = Path(sys.executable).with_name("kubectl")

PROGRAMS: dict[str, type[BaseSettings]] = {
    "voice-gateway": GatewaySettings,
    "voice-webhooks": WebhooksSettings,
    "voice-analytics": AnalyticsSettings,
    "voice-analytics-worker": WorkerSettings,
    "voice-recordings": RecordingsSettings,
    "voice": StoreSettings,
}
"""Each command that a container of ours may run, and the settings that it reads."""

IMAGES = {
    "gateway": ("gateway",),
    "webhooks": ("webhooks",),
    "analytics": ("analytics",),
    "recordings": ("recordings",),
    "operator": ("gateway", "webhooks", "analytics", "recordings"),
}
"""Each image, and the services that it is built of."""

_PRIVATE, _PUBLIC = new_key_pair()
SECRETS = {
    ("voice-identity", "private-key"): _PRIVATE,
    ("voice-identity", "public-keys"): _PUBLIC,
    ("voice-telnyx", "public-keys"): _PUBLIC,
    ("voice-redis", "url"): "rediss://redis.example.com:6379/0",
    **{
        ("voice-mongo", f"{user}-url"): f"mongodb://{user}:password@mongo.example.com:27017/?replicaSet=rs0"
        for user in ("admin", "operator", "gateway", "webhooks", "analytics", "recordings")
    },
}
"""The Secrets that staging and production expect, with values of the right form."""


@functools.cache
def rendered(folder: str) -> subprocess.CompletedProcess[str]:
    """Render a folder under ``deploy/kubernetes`` with kubectl; skip where its wheel does not exist."""
    if not KUBECTL.exists():
        pytest.skip("kubectl's wheel is for Linux on x86-64")
    command = [str(KUBECTL), "kustomize", str(KUBERNETES / folder)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env={"KUBECONFIG": "/dev/null"})


@functools.cache
def documents(overlay: str) -> list[dict[str, Any]]:
    """Give the objects of an overlay."""
    outcome = rendered(f"overlays/{overlay}")
    assert outcome.returncode == 0, outcome.stderr
    return list(yaml.load_all(outcome.stdout, Loader=yaml.CSafeLoader))


def objects(overlay: str, kind: str) -> dict[str, dict[str, Any]]:
    """Give an overlay's objects of a kind by name."""
    return {document["metadata"]["name"]: document for document in documents(overlay) if document["kind"] == kind}


@dataclass(frozen=True, slots=True)
class Workload:
    """A Deployment, StatefulSet or Job: its kind, its name, its pod template's spec, its only container."""

    overlay: str
    document: dict[str, Any]

    @property
    def name(self) -> str:
        """The object's name."""
        return str(self.document["metadata"]["name"])

    @property
    def kind(self) -> str:
        """The object's kind."""
        return str(self.document["kind"])

    @property
    def pod(self) -> dict[str, Any]:
        """The spec of its pods."""
        spec: dict[str, Any] = self.document["spec"]["template"]["spec"]
        return spec

    @property
    def labels(self) -> dict[str, str]:
        """The labels of its pods."""
        labels: dict[str, str] = self.document["spec"]["template"]["metadata"]["labels"]
        return labels

    @property
    def container(self) -> dict[str, Any]:
        """Its only container."""
        (container,) = self.pod["containers"]
        found: dict[str, Any] = container
        return found

    @property
    def is_ours(self) -> bool:
        """Whether it runs a program of this repository."""
        return self.container["command"][0] in PROGRAMS

    @property
    def settings_model(self) -> type[BaseSettings]:
        """The settings class that its program reads."""
        return PROGRAMS[self.container["command"][0]]

    def port(self, name_or_number: str | int) -> int:
        """Give the number of a container port."""
        if isinstance(name_or_number, int):
            return name_or_number
        return int({port["name"]: port["containerPort"] for port in self.container["ports"]}[name_or_number])

    def environment(self) -> dict[str, str]:
        """Give the variables that its container gets, Secrets' values included."""
        found: dict[str, str] = {}
        for source in self.container.get("envFrom", []):
            if source.get("secretRef", {}).get("optional"):
                continue
            found |= objects(self.overlay, "ConfigMap")[source["configMapRef"]["name"]]["data"]
        for variable in self.container.get("env", []):
            if "value" in variable:
                found[variable["name"]] = variable["value"]
            elif "secretKeyRef" in variable["valueFrom"]:
                reference = variable["valueFrom"]["secretKeyRef"]
                found[variable["name"]] = self._secret(reference["name"], reference["key"])
        return found

    def _secret(self, name: str, key: str) -> str:
        made = objects(self.overlay, "Secret")
        if name in made:
            return base64.b64decode(made[name]["data"][key]).decode()
        return SECRETS[name, key]


def workloads(overlay: str) -> Iterator[Workload]:
    """Give everything in an overlay that makes pods."""
    for document in documents(overlay):
        if document["kind"] in {"Deployment", "StatefulSet", "Job"}:
            yield Workload(overlay, document)


def our_workloads(overlay: str) -> list[Workload]:
    """Give the workloads that run programs of this repository."""
    return [workload for workload in workloads(overlay) if workload.is_ours]


def deployments(overlay: str) -> list[Workload]:
    """Give our Deployments: the services and the analytics worker."""
    return [workload for workload in our_workloads(overlay) if workload.kind == "Deployment"]
