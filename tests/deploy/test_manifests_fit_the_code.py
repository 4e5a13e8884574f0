"""Manifests, compose.yaml and Dockerfile say what the code says: ports, paths, variables, commands."""

from __future__ import annotations

import base64
import re
import shlex
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import entry_points
from typing import Any
from urllib.parse import urlsplit

import click
import pytest
import yaml
from aiohttp import web
from dockerfile import read_dockerfile
from manifests import (
    IMAGES,
    KUBERNETES,
    OVERLAYS,
    PROGRAMS,
    SECRETS,
    Workload,
    deployments,
    documents,
    objects,
    our_workloads,
    workloads,
)
from pydantic_settings import BaseSettings
from settings_table import ROOT

import voice_analytics.app
import voice_gateway.app
import voice_recordings.app
import voice_webhooks.app
from voice_common.cli.admin import PASSWORD_VARIABLE
from voice_common.identity import public_key_of
from voice_common.serving import _options
from voice_common.settings import PREFIX, ServiceSettings, StoreSettings, load
from voice_common.store.access import OPERATOR, ROLES
from voice_common.telemetry.traces import traces_wanted
from voice_common.web import runner
from voice_common.web.app import make_app
from voice_gateway import edge, upstream
from voice_gateway.areas import AREAS
from voice_gateway.settings import GatewaySettings

APPS: dict[str, Callable[[Any], web.Application]] = {
    "voice-gateway": voice_gateway.app.create_app,
    "voice-webhooks": voice_webhooks.app.create_app,
    "voice-analytics": voice_analytics.app.create_app,
    "voice-analytics-worker": lambda _settings: make_app("analytics-worker"),
    "voice-recordings": voice_recordings.app.create_app,
}
PROBES = ("startupProbe", "readinessProbe", "livenessProbe")
INTERPOLATED = re.compile(r"\$\{(VOICE_\w+):-([^}]*)\}")
_, STAGES = read_dockerfile(ROOT / "deploy/docker/Dockerfile")
IMAGE_ENVIRONMENT = {name: value for name, value in STAGES[-1].environment().items() if name.startswith(PREFIX)}
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
COMPOSED = {name: service for name, service in COMPOSE.items() if "build" in service}


@pytest.fixture
def settings_of(monkeypatch: pytest.MonkeyPatch) -> Callable[[type[BaseSettings], Mapping[str, str]], Any]:
    """Give what reads a program's settings from the environment that its container gets, and from nothing else."""

    def read(model: type[BaseSettings], environment: Mapping[str, str]) -> Any:
        with monkeypatch.context() as patch:
            for name in known_to(GatewaySettings):
                patch.delenv(name, raising=False)
            for name, value in {**IMAGE_ENVIRONMENT, **environment}.items():
                patch.setenv(name, value)
            return load(model)

    return read


def known_to(model: type[BaseSettings]) -> set[str]:
    return {PREFIX + name.upper() for name in model.model_fields}


def required_by(model: type[BaseSettings]) -> set[str]:
    return {PREFIX + name.upper() for name, field in model.model_fields.items() if field.is_required()}


def told(environment: Mapping[str, str]) -> set[str]:
    return {name for name in environment if name.startswith(PREFIX)}


def every_workload() -> Iterator[Workload]:
    for overlay in OVERLAYS:
        yield from our_workloads(overlay)


def check_environment(who: str, model: type[BaseSettings], environment: Mapping[str, str]) -> None:
    assert told(environment) <= known_to(model), f"{who} does not read all of it"
    assert required_by(model) <= told(environment), f"{who} does not start"
    # What has a default for a machine of one's own only must be said too.
    stores = {"VOICE_MONGO_URL", "VOICE_REDIS_URL", "VOICE_ANALYTICS_URL", "VOICE_RECORDINGS_URL", "VOICE_WEBHOOKS_URL"}
    assert known_to(model) & stores <= told(environment), f"{who} would look for them on its own loopback"


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_a_pod_is_told_what_its_program_reads(overlay: str) -> None:
    for workload in our_workloads(overlay):
        common = {"VOICE_HOST", "VOICE_LOG_LEVEL", "VOICE_DRAIN_SECONDS", "VOICE_MONGO_DATABASE"}
        assert common <= told(workload.environment()), workload.name
        check_environment(f"{overlay} {workload.name}", workload.settings_model, workload.environment())


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_a_pods_ports_are_those_that_its_program_listens_on(
    overlay: str, settings_of: Callable[[type[BaseSettings], Mapping[str, str]], Any]
) -> None:
    for workload in deployments(overlay):
        settings = settings_of(workload.settings_model, workload.environment())
        ports = {port["name"]: port["containerPort"] for port in workload.container["ports"]}
        expected = {"http": settings.port}
        if isinstance(settings, GatewaySettings):
            expected["metrics"] = settings.metrics_port
        assert ports == expected, workload.name
        assert settings.host == "0.0.0.0", workload.name  # noqa: S104 - a pod's own address is not known before


def test_the_gateways_ports_are_the_same_everywhere() -> None:
    defaults = GatewaySettings.model_fields
    port, metrics_port = str(defaults["port"].default), str(defaults["metrics_port"].default)
    told = [workload.environment() for workload in every_workload() if workload.name == "voice-gateway"]
    told.append(COMPOSE["gateway"]["environment"])
    assert {(one["VOICE_PORT"], one["VOICE_METRICS_PORT"]) for one in told} == {(port, metrics_port)}
    assert IMAGE_ENVIRONMENT["VOICE_PORT"] == port
    assert STAGES[-1].arguments("EXPOSE") == [port]
    assert COMPOSE["gateway"]["ports"] == [f"127.0.0.1:{port}:{port}"]
    for paper in (KUBERNETES / "overlays/dev/kustomization.yaml", ROOT / "docs/deploy.md"):
        assert f"service/voice-gateway {port}" in paper.read_text()


@pytest.mark.parametrize("overlay", OVERLAYS)
async def test_probes_ask_for_routes_of_the_right_port(
    overlay: str, settings_of: Callable[[type[BaseSettings], Mapping[str, str]], Any]
) -> None:
    for workload in deployments(overlay):
        settings = settings_of(workload.settings_model, workload.environment())
        routes = routes_of(workload.name, settings)
        # The gateway's public port tells less, and a request there can be refused by its edge.
        right = settings.metrics_port if isinstance(settings, GatewaySettings) else settings.port
        for probe, path in zip(PROBES, ("/livez", "/readyz", "/livez"), strict=True):
            asked = workload.container[probe]["httpGet"]
            assert asked["path"] == path, f"{workload.name} {probe}"
            assert path in routes, f"{workload.name} {probe}"
            assert workload.port(asked["port"]) == right, f"{workload.name} {probe}"
    for monitor in objects(overlay, "ServiceMonitor").values():
        assert {endpoint["path"] for endpoint in monitor["spec"]["endpoints"]} == {"/metrics"}


def routes_of(program: str, settings: ServiceSettings) -> set[str]:
    return {resource.canonical for resource in APPS[program](settings).router.resources()}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_traces_go_to_a_collector_that_policies_let_them_reach(overlay: str) -> None:
    for workload in deployments(overlay):
        environment = workload.environment()
        assert traces_wanted(environment) == (overlay != "dev"), workload.name
        if overlay != "dev":
            collector = urlsplit(environment["OTEL_EXPORTER_OTLP_ENDPOINT"])
            (rule,) = objects(overlay, "NetworkPolicy")["traces"]["spec"]["egress"]
            assert rule["ports"] == [{"port": collector.port}]
            namespace = rule["to"][0]["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"]
            assert str(collector.hostname).split(".")[1] == namespace


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_gateway_finds_the_services_that_are_there(overlay: str) -> None:
    (gateway,) = [workload for workload in our_workloads(overlay) if workload.name == "voice-gateway"]
    services = objects(overlay, "Service")
    for name in ("analytics", "recordings", "webhooks"):
        ports = {port["port"] for port in services[f"voice-{name}"]["spec"]["ports"]}
        assert gateway.environment()[f"VOICE_{name.upper()}_URL"] in {f"http://voice-{name}:{port}" for port in ports}


def stores_of(environment: Mapping[str, str]) -> dict[str, str]:
    """Give host and port of each store that a program is told."""
    urls = {name: environment[name] for name in ("VOICE_MONGO_URL", "VOICE_REDIS_URL") if name in environment}
    return {name: urlsplit(url).netloc.rpartition("@")[2] for name, url in urls.items()}


def test_development_finds_the_stores_that_are_there() -> None:
    stores = {workload.name: workload for workload in workloads("dev") if workload.kind == "StatefulSet"}
    listening = {name: objects("dev", "Service")[name]["spec"]["ports"][0]["port"] for name in stores}
    assert listening == {"mongo": 27017, "redis": 6379}, "where the servers listen by themselves"
    expected = {
        "VOICE_MONGO_URL": f"mongo-0.{stores['mongo'].document['spec']['serviceName']}:{listening['mongo']}",
        "VOICE_REDIS_URL": f"redis:{listening['redis']}",
    }
    for workload in our_workloads("dev"):
        assert stores_of(workload.environment()).items() <= expected.items(), workload.name
    initiated = stores["mongo"].container["startupProbe"]["exec"]["command"][-1]
    assert f'host: "{expected["VOICE_MONGO_URL"]}"' in initiated, "its clients must know it by the same name"


def test_compose_finds_the_stores_that_are_there() -> None:
    expected = {"VOICE_MONGO_URL": "mongo:27017", "VOICE_REDIS_URL": "redis:6379"}
    for name, service in COMPOSED.items():
        assert stores_of(service["environment"]).items() <= expected.items(), name
    assert {"mongo", "redis"} <= COMPOSE.keys()
    assert f'host: "{expected["VOICE_MONGO_URL"]}"' in COMPOSE["mongo"]["healthcheck"]["test"][-1]


def test_servers_keep_connections_longer_than_the_gateways_pool_does() -> None:
    gunicorns = _options(GatewaySettings.model_construct(), [])["keepalive"]
    assert isinstance(gunicorns, int)
    kept = min(gunicorns, edge._KEEP_ALIVE_SECONDS, runner._KEEP_ALIVE_SECONDS)
    assert kept > upstream._POOL_KEEPS, "else a request meets a connection that is just closed"


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_gateways_share_of_a_limit_holds_at_the_autoscalers_upper_bound(overlay: str) -> None:
    (gateway,) = [workload for workload in our_workloads(overlay) if workload.name == "voice-gateway"]
    environment = gateway.environment()
    scaler = objects(overlay, "HorizontalPodAutoscaler").get("voice-gateway")
    most = scaler["spec"]["maxReplicas"] if scaler else gateway.document["spec"].get("replicas", 1)
    processes = int(environment["VOICE_GATEWAY_PROCESSES"])
    assert processes == most * int(environment["VOICE_WORKERS"])
    # Each process admits at least one request: with more processes than the smallest limit, they'd admit too many.
    assert processes <= min(area.limit for area in AREAS)


def script_exists(command: str, image: str) -> None:
    """Raise unless an image's packages bring a command."""
    (script,) = entry_points(group="console_scripts", name=command)
    assert script.dist is not None
    assert script.dist.name in packages_of(image)


def packages_of(image: str) -> set[str]:
    return {"voice-common", *(f"voice-{service}" for service in IMAGES[image])}


def image_of(workload: Workload) -> str:
    matched = re.fullmatch(r"(?:registry\.example\.com/voice/|voice-)(\w+):[\w.]+", workload.container["image"])
    assert matched, workload.container["image"]
    return matched[1]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_commands_are_entry_points_of_the_image_that_runs_them(overlay: str) -> None:
    for workload in our_workloads(overlay):
        script_exists(workload.container["command"][0], image_of(workload))
    assert {workload.container["command"][0] for workload in our_workloads(overlay)} == PROGRAMS.keys()


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_init_jobs_command_is_one_of_its_image(overlay: str) -> None:
    (job,) = [workload for workload in our_workloads(overlay) if workload.kind == "Job"]
    _, name, subcommand = job.container["command"]
    (point,) = entry_points(group="voice.commands", name=name)
    assert point.dist is not None
    assert point.dist.name in packages_of(image_of(job))
    group = point.load()
    assert isinstance(group, click.Group)
    assert subcommand in group.list_commands(click.Context(group))
    # It makes the indexes of the packages that are installed beside it.
    owners = {point.dist.name for point in entry_points(group="voice.indexes") if point.dist is not None}
    assert owners
    assert owners <= packages_of(image_of(job))


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_operators_have_every_command_and_a_user_of_their_own(overlay: str) -> None:
    (operator,) = [workload for workload in workloads(overlay) if workload.name == "voice-operator"]
    check_environment("voice-operator", StoreSettings, operator.environment())
    assert operator.document["spec"]["replicas"] == 0
    assert packages_of(image_of(operator)) == {"voice-common", *(f"voice-{name}" for name in IMAGES["operator"])}
    variables = {variable["name"]: variable for variable in operator.container["env"]}
    assert variables["VOICE_MONGO_URL"]["valueFrom"]["secretKeyRef"]["key"] == f"{OPERATOR}-url"


def test_the_guide_names_the_users_that_the_init_job_makes() -> None:
    guide = (ROOT / "docs/deploy.md").read_text()
    assert [role for role in ROLES if f"`{PASSWORD_VARIABLE}{role.upper()}`" not in guide] == []
    assert {role for role in ROLES if ("voice-mongo", f"{role}-url") not in SECRETS} == set()


def test_every_service_is_deployed_and_composed() -> None:
    scripts = {
        point.name
        for point in entry_points(group="console_scripts")
        if point.dist is not None and point.dist.name.startswith("voice-") and point.name != "voice"
    }
    for overlay in OVERLAYS:
        assert {workload.name for workload in deployments(overlay)} == scripts
    assert {f"voice-{name}" for name in COMPOSED} - {"voice-operator"} == scripts


@pytest.mark.parametrize("name", COMPOSED)
def test_compose_tells_a_program_what_it_reads(
    name: str, settings_of: Callable[[type[BaseSettings], Mapping[str, str]], Any]
) -> None:
    service = COMPOSED[name]
    program = service.get("entrypoint", service["command"])[0]
    environment = {
        key: INTERPOLATED.sub(lambda match: match[2], value) for key, value in service["environment"].items()
    }
    check_environment(name, PROGRAMS[program], environment)
    settings = settings_of(PROGRAMS[program], environment)
    if PROGRAMS[program] is not StoreSettings:
        assert f"127.0.0.1:{settings.port}/readyz" in service["healthcheck"]["test"][-1]
        assert int(service["stop_grace_period"].removesuffix("s")) >= settings.drain_seconds + 4
    image = service["image"].removeprefix("voice-").removesuffix(":dev")
    assert tuple(service["build"]["args"]["SERVICE"].split()) == IMAGES[image]
    script_exists(program, image)
    assert {"read_only": True, "cap_drop": ["ALL"]}.items() <= service.items()


@pytest.mark.parametrize("name", ["analytics", "recordings", "webhooks"])
def test_composes_gateway_finds_its_services(name: str) -> None:
    port = COMPOSE[name]["environment"]["VOICE_PORT"]
    assert COMPOSE["gateway"]["environment"][f"VOICE_{name.upper()}_URL"] == f"http://{name}:{port}"


def test_the_development_keys_belong_together_and_are_told_as_such() -> None:
    (gateway,) = [workload for workload in our_workloads("dev") if workload.name == "voice-gateway"]
    (webhooks,) = [workload for workload in our_workloads("dev") if workload.name == "voice-webhooks"]
    private = gateway.environment()["VOICE_IDENTITY_PRIVATE_KEY"]
    assert base64.b64decode(private) == b"voice-development-key-not-secret"
    assert webhooks.environment()["VOICE_IDENTITY_PUBLIC_KEYS"] == public_key_of(private)
    composed = {**COMPOSE["gateway"]["environment"], **COMPOSE["webhooks"]["environment"]}
    assert INTERPOLATED.findall(composed["VOICE_IDENTITY_PRIVATE_KEY"])[0][1] == private
    assert INTERPOLATED.findall(composed["VOICE_IDENTITY_PUBLIC_KEYS"])[0][1] == public_key_of(private)
    for overlay in {*OVERLAYS} - {"dev"}:
        assert objects(overlay, "Secret") == {}
        assert private not in yaml.safe_dump(documents(overlay))


def test_the_images_command_is_the_service_as_process_1() -> None:
    (command,) = STAGES[-1].arguments("CMD")
    assert command == '["service"]'  # no shell in between: gunicorn gets the signals
    assert STAGES[-1].arguments("ENTRYPOINT") == []
    assert any("/app/bin/service" in step for stage in STAGES for step in stage.arguments("RUN"))
    for service in IMAGES["operator"]:
        script_exists(f"voice-{service}", service)


def test_the_images_variables_are_settings_of_every_service() -> None:
    for model in PROGRAMS.values():
        assert IMAGE_ENVIRONMENT.keys() <= known_to(model)


def test_the_guides_build_commands_name_services_that_exist() -> None:
    guide = (ROOT / "docs/deploy.md").read_text()
    built = [
        argument.removeprefix("SERVICE=")
        for line in guide.splitlines()
        if line.startswith("docker build")
        for argument in shlex.split(line)
        if argument.startswith("SERVICE=")
    ]
    assert {tuple(name.split()) for name in built if "$" not in name} <= set(IMAGES.values())
    assert built
