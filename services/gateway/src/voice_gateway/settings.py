"""What the gateway is told: environment variables with the prefix ``VOICE_``."""

from __future__ import annotations

import ipaddress
from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, ValidationInfo, field_validator, model_validator
from redis.asyncio.connection import parse_url

from voice_common.settings import Ed25519Key, StoreSettings, WebhookBodySettings, Words
from voice_gateway.public_keys import keys_in

MEBIBYTE = 1024 * 1024


def _is_web_url(value: str) -> bool:
    try:
        parts = urlsplit(value)
        return parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:  # what it says can hold a part of a password
        return False


def _service_url(value: str) -> str:
    if not _is_web_url(value) or "@" in value or urlsplit(value).path.strip("/") or urlsplit(value).query:
        message = "must be an http(s) URL with a host, and no user or path"
        raise ValueError(message)
    return value.rstrip("/")


def _web_url(value: str | None) -> str | None:
    if value is not None and not _is_web_url(value):
        message = "must be an http(s) URL"
        raise ValueError(message)
    return value


def _redis_url(value: str) -> str:
    try:
        parse_url(value)
    except ValueError:  # as above
        message = "must be a redis://, rediss:// or unix:// URL, user and password percent-encoded"
        raise ValueError(message) from None
    return value


def _networks(values: list[str]) -> list[str]:
    for value in values:
        try:
            ipaddress.ip_network(value, strict=False)
        except ValueError:
            message = "must be IP addresses or networks (10.0.0.0/8), separated by commas"
            raise ValueError(message) from None
    return values


def _origins(values: list[str]) -> list[str]:
    for value in values:
        parts = urlsplit(value)
        if parts.scheme not in {"http", "https"} or not parts.hostname or value != f"{parts.scheme}://{parts.netloc}":
            message = "must be origins (https://app.example.com), separated by commas; * is not one"
            raise ValueError(message)
    return values


def _public_keys(value: str | None) -> str | None:
    if value is None:
        return None
    text = value.replace("\\n", "\n")
    try:
        keys_in(text)
    except ValueError:
        message = "must be a public key in PEM (RSA, P-256 or Ed25519), or several, one after the other"
        raise ValueError(message) from None
    return text


ServiceUrl = Annotated[str, AfterValidator(_service_url)]


class GatewaySettings(StoreSettings, WebhookBodySettings):
    """All settings of the gateway."""

    port: int = Field(8080, ge=0, le=65535, description="public port of the gateway")
    metrics_port: int = Field(
        9080, ge=0, le=65535, description="second, internal port of the gateway: /livez, /readyz, /metrics"
    )
    redis_url: Annotated[str, AfterValidator(_redis_url)] = Field(
        "redis://127.0.0.1:6379/0", description="Redis for rate limits and the shared cache", repr=False
    )
    analytics_url: ServiceUrl = Field("http://127.0.0.1:8081", description="where the analytics service listens")
    recordings_url: ServiceUrl = Field("http://127.0.0.1:8082", description="where the recordings service listens")
    webhooks_url: ServiceUrl = Field("http://127.0.0.1:8083", description="where the webhooks service listens")
    identity_private_key: Ed25519Key = Field(
        description="private key of the internal identity (base64 of 32 bytes); the gateway's alone", repr=False
    )
    gateway_processes: int | None = Field(
        None, ge=1, description="gateway processes over all replicas, for limits without Redis (default: VOICE_WORKERS)"
    )
    trusted_proxies: Annotated[Words, AfterValidator(_networks)] = Field(
        [], description="addresses or networks whose X-Forwarded-For is believed, separated by commas"
    )
    cors_origins: Annotated[Words, AfterValidator(_origins)] = Field(
        [], description="origins that browsers may call from, separated by commas (none by default)"
    )
    console_media_origins: Annotated[Words, AfterValidator(_origins)] = Field(
        [], description="origins from which the console may play recordings besides all of https, separated by commas"
    )
    jwt_jwks_url: Annotated[str | None, AfterValidator(_web_url)] = Field(
        None, description="JWKS of the issuer of JWTs; JWTs are accepted when this or the public key is set", repr=False
    )
    jwt_public_key: Annotated[str | None, AfterValidator(_public_keys)] = Field(
        None, description="public key (PEM) of the issuer of JWTs; while it is changed, both, one after the other"
    )
    jwt_issuer: str | None = Field(None, validate_default=True, description="required `iss` of JWTs")
    jwt_audience: Words = Field([], validate_default=True, description="accepted `aud` of JWTs, separated by commas")
    jwt_tenant_claim: str = Field(
        "tenant_id", min_length=1, description="claim of a JWT that names the tenant; dots lead into objects"
    )
    jwt_scope_claim: str | None = Field(
        None, min_length=1, description="claim of a JWT that names its scopes (default: `scope`, `scp` or `scopes`)"
    )
    jwt_scope_prefix: str = Field("", description="what stands before each scope in a JWT, with its slash")
    connections: int = Field(16_384, ge=1, le=1_000_000, description="connections that one gateway process holds")
    connections_per_client: int = Field(
        1000, ge=1, description="connections that one address may have to a gateway process; trusted proxies: any"
    )
    slow_client_seconds: float = Field(
        20, gt=0, le=600, description="longest that a request's head may take, and that an answer may stay unread"
    )
    request_headers: int = Field(100, ge=16, le=110, description="headers that a request may have; beyond it: 431")
    request_head_bytes: int = Field(
        32 * 1024, ge=20 * 1024, le=1024 * 1024, description="bytes that a request's target and headers may have: 431"
    )
    webhook_memory_mb: int = Field(
        64, ge=4, le=65536, description="MiB of webhooks' bodies that a gateway process holds; beyond it: 503"
    )
    cache_memory_mb: int = Field(64, ge=1, le=65536, description="memory of each process's cache in MiB")
    cache_redis_mb: int = Field(64, ge=1, le=65536, description="Redis memory of the shared cache in MiB")

    @field_validator("jwt_issuer", "jwt_audience")
    @classmethod
    def _beside_a_key(cls, value: object, info: ValidationInfo) -> object:
        if not value and (info.data.get("jwt_jwks_url") or info.data.get("jwt_public_key")):
            message = "it must be set when VOICE_JWT_JWKS_URL or VOICE_JWT_PUBLIC_KEY is"
            raise ValueError(message)
        return value

    @model_validator(mode="after")
    def _two_ports(self) -> Self:
        if self.port and self.port == self.metrics_port:
            message = "VOICE_METRICS_PORT must differ from VOICE_PORT"
            raise ValueError(message)
        return self

    @property
    def processes(self) -> int:
        """Gateway processes over all replicas."""
        return self.gateway_processes or self.workers
