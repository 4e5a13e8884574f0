"""What is measured: each server alone on its core, and the request that it is sent all the time."""

from __future__ import annotations

import gzip
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from benchmarks.gateway.edges import envoy_command, nginx_command
from benchmarks.gateway.pinned import Running, ask, running
from benchmarks.gateway.system import LIMIT, System, get
from voice_local.servers import free_port

HELLO, HIT, REVALIDATED, ENVOY, NGINX = "hello", "hit", "304", "envoy", "nginx"
PASS_THROUGH, PROXIED, FASTAPI = "pass-through", "proxied", "fastapi"
SHOWN = {
    HELLO: "aiohttp: hello",
    HIT: "gateway: cache hit",
    REVALIDATED: "gateway: cache hit, If-None-Match",
    ENVOY: "Envoy: JWT, local limit, to the service",
    NGINX: "nginx: limit_req, to the service",
    PASS_THROUGH: "aiohttp: pass-through",
    PROXIED: "gateway: not cached, proxied",
    FASTAPI: "FastAPI + httpx: pass-through",
}


@dataclass(frozen=True, slots=True)
class Target:
    """A server, what it is sent, and the status that every answer must have."""

    server: Running
    request: bytes
    status: int = 200


def start_targets(behind: System, core: int, folder: Path, until: ExitStack) -> tuple[dict[str, Target], int]:
    """Start every server that is measured, each to run on `core` until `until` closes; check what each answers.

    Gives them by name, Envoy and nginx only where they are installed, and the port of the gateway's metrics.
    """
    upstream = {"UPSTREAM": f"http://127.0.0.1:{behind.replay}"}
    overview = get(behind.overview, Authorization=f"Bearer {behind.token}")
    conversation = get(behind.conversation, Authorization=f"Bearer {behind.token}")

    def start(name: str, command: Sequence[str], port: int, environment: Mapping[str, str], request: bytes) -> Target:
        log = folder / f"{name}.log"
        server = running(command, port, cores={core}, log=log, environment=environment, probe=request)
        return Target(until.enter_context(server), request)

    def bare(name: str, function: str, request: bytes) -> Target:
        port = free_port()
        command = [sys.executable, "-m", "benchmarks.gateway.bare", function]
        environment = {**upstream, "VOICE_PORT": str(port), "VOICE_LOG_LEVEL": "warning"}
        return start(name, command, port, environment, request)

    gateway_port, metrics_port = free_port(), free_port()
    environment = {
        **behind.settings,
        "VOICE_PORT": str(gateway_port),
        "VOICE_METRICS_PORT": str(metrics_port),
    }
    gateway = start("gateway", [sys.executable, "-m", "voice_gateway"], gateway_port, environment, overview)
    envoy_port, nginx_port, fastapi_port = free_port(), free_port(), free_port()
    envoy = envoy_command(envoy_port, behind.replay, folder)
    nginx = nginx_command(nginx_port, behind.replay, folder)
    fastapi = [
        sys.executable, "-m", "uvicorn", "benchmarks.gateway.fastapi_proxy:app", "--port", str(fastapi_port),
        "--loop", "uvloop", "--http", "httptools", "--workers", "1", "--no-access-log", "--log-level", "warning",
    ]  # fmt: skip
    targets = {
        HELLO: bare("hello", "hello", overview),
        HIT: gateway,
        PASS_THROUGH: bare("pass-through", "pass_through", conversation),
        PROXIED: Target(gateway.server, conversation),
        FASTAPI: start("fastapi", fastapi, fastapi_port, upstream, conversation),
    }
    if envoy is not None:
        command, jwt = envoy
        with_jwt = get(behind.overview, Authorization=f"Bearer {jwt}")
        targets[ENVOY] = start("envoy", command, envoy_port, {}, with_jwt)
    if nginx is not None:
        targets[NGINX] = start("nginx", nginx, nginx_port, {}, overview)
    for target in targets.values():
        target.server.until_ready()
    tag = _header(ask(gateway_port, overview), "etag")
    revalidated = get(behind.overview, Authorization=f"Bearer {behind.token}", If_None_Match=tag)
    targets[REVALIDATED] = Target(gateway.server, revalidated, 304)
    _check(targets, behind)
    return {name: targets[name] for name in SHOWN if name in targets}, metrics_port


def _check(targets: Mapping[str, Target], behind: System) -> None:
    """See that each does what it is measured for."""
    answers = {name: ask(target.server.port, target.request) for name, target in targets.items()}
    for name, answer in answers.items():
        assert answer.startswith(b"HTTP/1.1 %d " % targets[name].status), (name, answer)
    for name in (HIT, REVALIDATED):
        assert _header(answers[name], "x-cache") == "HIT", answers[name]
        assert _header(answers[name], "x-ratelimit-limit") == str(LIMIT), answers[name]
    overview = _body(ask(behind.replay, get(behind.overview)))
    conversation = _body(ask(behind.replay, get(behind.conversation)))
    for name in (HIT, ENVOY, NGINX):
        assert name not in answers or _body(answers[name]) == overview, (name, answers[name])
    for name in (PASS_THROUGH, PROXIED, FASTAPI):
        assert _body(answers[name]) == conversation, (name, answers[name])
    assert _header(answers[PROXIED], "cache-control") == "private, no-store", answers[PROXIED]
    for name in {HIT, PROXIED, ENVOY} & targets.keys():  # nobody gets in without a token
        target = behind.conversation if name == PROXIED else behind.overview
        refused = ask(targets[name].server.port, get(target))
        assert refused.startswith(b"HTTP/1.1 401 "), (name, refused)


def _header(answer: bytes, name: str) -> str:
    head = answer.partition(b"\r\n\r\n")[0].decode()
    lines = [line.partition(": ") for line in head.split("\r\n")]
    return next((value for key, _, value in lines if key.lower() == name), "")


def _body(answer: bytes) -> bytes:
    body = answer.partition(b"\r\n\r\n")[2]
    return gzip.decompress(body) if _header(answer, "content-encoding") == "gzip" else body
