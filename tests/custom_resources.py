"""The objects whose schemas Kubernetes itself does not have: as much of them as the manifests use."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Strict(BaseModel):
    """A part of an object whose schema Kubernetes itself does not have: what is not named here is an error."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Metadata(Strict):
    name: str
    namespace: str
    labels: dict[str, str]


class Endpoint(Strict):
    port: str
    path: str
    interval: str = Field(pattern=r"^\d+s$")
    scrapeTimeout: str = Field(pattern=r"^\d+s$")  # noqa: N815 - Kubernetes' spelling


class MatchLabels(Strict):
    matchLabels: dict[str, str]  # noqa: N815 - as above


class ServiceMonitorSpec(Strict):
    selector: MatchLabels
    endpoints: list[Endpoint] = Field(min_length=1)


class ServiceMonitor(Strict):
    apiVersion: Literal["monitoring.coreos.com/v1"]  # noqa: N815 - as above
    kind: Literal["ServiceMonitor"]
    metadata: Metadata
    spec: ServiceMonitorSpec


class ParentRef(Strict):
    name: str
    namespace: str
    sectionName: str  # noqa: N815 - as above


class PathMatch(Strict):
    type: Literal["Exact", "PathPrefix"]
    value: str = Field(pattern="^/")


class Match(Strict):
    path: PathMatch


class BackendRef(Strict):
    name: str
    port: int


class Timeouts(Strict):
    request: str = Field(pattern=r"^\d+s$")


class Rule(Strict):
    matches: list[Match] = Field(min_length=1)
    backendRefs: list[BackendRef] = Field(min_length=1)  # noqa: N815 - as above
    timeouts: Timeouts


class HTTPRouteSpec(Strict):
    parentRefs: list[ParentRef] = Field(min_length=1)  # noqa: N815 - as above
    hostnames: list[str] = Field(min_length=1)
    rules: list[Rule] = Field(min_length=1)


class HTTPRoute(Strict):
    apiVersion: Literal["gateway.networking.k8s.io/v1"]  # noqa: N815 - as above
    kind: Literal["HTTPRoute"]
    metadata: Metadata
    spec: HTTPRouteSpec


CUSTOM: dict[str, type[Strict]] = {"HTTPRoute": HTTPRoute, "ServiceMonitor": ServiceMonitor}
