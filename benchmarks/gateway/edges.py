"""Envoy and nginx as peers: how each is started as an edge before the service, and its configuration.

Both are at their best: one thread, no access log, connections kept on both sides, limits that are never reached.
Envoy remembers the JWTs that it verified. Their limits count in their own memory, where the gateway's are exact
over all replicas.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

_ISSUER, _AUDIENCE = "https://issuer.example", "voice"
_EXTENSIONS = "type.googleapis.com/envoy.extensions"
_NEVER_REACHED = 1_000_000


def envoy_command(port: int, upstream: int, folder: Path) -> tuple[list[str], str] | None:
    """Write Envoy's configuration; give its command and a JWT that it takes, or ``None`` where it is not installed."""
    binary = Path(sys.executable).with_name("envoy")
    if not binary.is_file():
        return None
    key = ec.generate_private_key(ec.SECP256R1())
    public = {**ECAlgorithm.to_jwk(key.public_key(), as_dict=True), "kid": "bench", "alg": "ES256", "use": "sig"}
    claims = {"iss": _ISSUER, "aud": _AUDIENCE, "sub": "bench", "exp": int(time.time()) + 86_400}
    token = jwt.encode(claims, key, algorithm="ES256", headers={"kid": "bench"})
    path = folder / "envoy.json"
    path.write_text(json.dumps(_envoy_configuration(port, upstream, public)))
    options = ["--concurrency", "1", "--disable-hot-restart", "--log-level", "warning"]
    return [str(binary), "--config-path", str(path), *options], token


def nginx_command(port: int, upstream: int, folder: Path) -> list[str] | None:
    """Write nginx's configuration; give its command, or ``None`` where it is not installed."""
    binary = shutil.which("nginx")
    if binary is None:
        return None
    path = folder / "nginx.conf"
    path.write_text(_NGINX.format(port=port, upstream=upstream, folder=folder, rate=_NEVER_REACHED))
    return [binary, "-c", str(path), "-p", str(folder), "-e", str(folder / "nginx-error.log")]


_NGINX = """\
daemon off;
master_process off;
pid {folder}/nginx.pid;
events {{ worker_connections 1024; }}
http {{
  access_log off;
  error_log {folder}/nginx-error.log error;
  client_body_temp_path {folder}/nginx-body;
  proxy_temp_path {folder}/nginx-proxy;
  fastcgi_temp_path {folder}/nginx-fastcgi;
  uwsgi_temp_path {folder}/nginx-uwsgi;
  scgi_temp_path {folder}/nginx-scgi;
  keepalive_requests 100000000;
  limit_req_zone $http_authorization zone=tenants:10m rate={rate}r/s;
  upstream service {{
    server 127.0.0.1:{upstream};
    keepalive 256;
    keepalive_requests 100000000;
  }}
  server {{
    listen 127.0.0.1:{port} backlog=1024;
    location / {{
      limit_req zone=tenants burst={rate} nodelay;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_pass http://service;
    }}
  }}
}}
"""


def _envoy_configuration(port: int, upstream: int, public: dict[str, Any]) -> dict[str, Any]:
    always = {"default_value": {"numerator": 100, "denominator": "HUNDRED"}}
    authentication = {
        "@type": f"{_EXTENSIONS}.filters.http.jwt_authn.v3.JwtAuthentication",
        "providers": {
            "bench": {
                "issuer": _ISSUER,
                "audiences": [_AUDIENCE],
                "local_jwks": {"inline_string": json.dumps({"keys": [public]})},
                "jwt_cache_config": {"jwt_cache_size": 100},
            }
        },
        "rules": [{"match": {"prefix": "/"}, "requires": {"provider_name": "bench"}}],
    }
    limit = {
        "@type": f"{_EXTENSIONS}.filters.http.local_ratelimit.v3.LocalRateLimit",
        "stat_prefix": "bench",
        "token_bucket": {
            "max_tokens": _NEVER_REACHED,
            "tokens_per_fill": _NEVER_REACHED,
            "fill_interval": "1s",
        },
        "filter_enabled": always,
        "filter_enforced": always,
    }
    manager = {
        "@type": f"{_EXTENSIONS}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "bench",
        "codec_type": "HTTP1",
        "route_config": {
            "virtual_hosts": [
                {
                    "name": "all",
                    "domains": ["*"],
                    "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "service"}}],
                }
            ]
        },
        "http_filters": [
            {"name": "envoy.filters.http.jwt_authn", "typed_config": authentication},
            {"name": "envoy.filters.http.local_ratelimit", "typed_config": limit},
            {
                "name": "envoy.filters.http.router",
                "typed_config": {"@type": f"{_EXTENSIONS}.filters.http.router.v3.Router"},
            },
        ],
    }
    connections = {"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}
    return {
        "static_resources": {
            "listeners": [
                {"name": "edge", "address": _address(port), "filter_chains": [{"filters": [connections]}]},
            ],
            "clusters": [
                {
                    "name": "service",
                    "type": "STATIC",
                    "connect_timeout": "1s",
                    "load_assignment": {
                        "cluster_name": "service",
                        "endpoints": [{"lb_endpoints": [{"endpoint": {"address": _address(upstream)}}]}],
                    },
                }
            ],
        }
    }


def _address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}
