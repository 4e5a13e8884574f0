"""Settings: environment variables with the prefix ``VOICE_``, read once at start."""

from __future__ import annotations

import base64
import binascii
import re
from decimal import Decimal
from typing import Annotated, TypeVar
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict
from pymongo.errors import PyMongoError
from pymongo.uri_parser import parse_uri

PREFIX = "VOICE_"
_CONFIG = SettingsConfigDict(env_prefix=PREFIX, extra="ignore", hide_input_in_errors=True, frozen=True)


class SettingsError(Exception):
    """A setting is missing or wrong; the text is one sentence that names it."""


def _key(value: str) -> str:
    try:
        raw = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if len(raw) != 32:  # noqa: PLR2004 - Ed25519 keys, RFC 8032 §5.1.5
        message = "must be base64 of 32 raw bytes (Ed25519)"
        raise ValueError(message)
    return value


def _mongo_url(value: str) -> str:
    try:
        if value.startswith("mongodb+srv://"):  # its hosts are looked up, and not while settings are read
            urlsplit(value)
        else:
            parse_uri(value)
    except (PyMongoError, ValueError):  # what they say can hold a part of the password
        message = "must be a mongodb:// or mongodb+srv:// URL, user and password percent-encoded"
        raise ValueError(message) from None
    return value


def _split(value: object) -> object:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


MongoUrl = Annotated[str, AfterValidator(_mongo_url)]
"""The URL of a MongoDB; it can hold a password, so it is never shown."""

Ed25519Key = Annotated[str, AfterValidator(_key)]
"""Base64 of 32 raw bytes."""

Ed25519Keys = Annotated[list[Ed25519Key], NoDecode, BeforeValidator(_split)]
"""Ed25519 keys separated by commas."""

Words = Annotated[list[str], NoDecode, BeforeValidator(_split)]
"""Any words separated by commas."""

_DURATION_PART = re.compile(r"(\d{1,9}(?:\.\d{1,9})?) ?(d|h|min|ms|m|s)(?=[ \d]|$)", re.ASCII)
_SECONDS = re.compile(r"\d{1,12}(?:\.\d{1,9})?", re.ASCII)
_UNIT_MS = {"d": 86_400_000, "h": 3_600_000, "min": 60_000, "m": 60_000, "s": 1000, "ms": 1}


def duration_ms(text: str) -> int:
    """Read a duration as whole milliseconds: seconds (``15000``, ``0.5``) or text (``4h10m``, ``4 h 10 min``, ``90d``).

    Raises `ValueError` for anything else.
    """
    if _SECONDS.fullmatch(text):
        return int(Decimal(text) * 1000)
    parts = _DURATION_PART.findall(text)
    if not parts or _DURATION_PART.sub("", text).strip():
        message = "must be seconds or a duration such as 4h10m"
        raise ValueError(message)
    return int(sum(Decimal(number) * _UNIT_MS[unit] for number, unit in parts))


def _duration(value: object) -> object:
    return duration_ms(value.strip()) if isinstance(value, str) else value


DurationMs = Annotated[int, BeforeValidator(_duration), Field(gt=0)]
"""A duration in milliseconds; written as seconds or as text such as ``4h10m``."""


class ServiceSettings(BaseSettings):
    """What every service is told."""

    model_config = _CONFIG

    host: str = Field("127.0.0.1", description="address that the service listens on")
    port: int = Field(0, ge=0, le=65535, description="port that the service listens on")
    workers: int = Field(1, ge=1, le=64, description="worker processes of the service")
    log_level: str = Field("info", pattern="^(debug|info|warning|error)$", description="lowest level that is logged")
    drain_seconds: float = Field(10.0, gt=0, le=300, description="longest that a stop waits for requests in flight")

    @property
    def logs_requests(self) -> bool:
        """Whether each request gets a line in the log."""
        return self.log_level in {"debug", "info"}


class StoreSettings(ServiceSettings):
    """What a service that reads or writes MongoDB is told."""

    mongo_url: MongoUrl = Field(
        "mongodb://127.0.0.1:27017/?replicaSet=rs0", description="MongoDB replica set", repr=False
    )
    mongo_database: str = Field("voice", min_length=1, description="database of the system")


class IdentitySettings(BaseSettings):
    """What a service that is called by the gateway is told."""

    model_config = _CONFIG  # a base without it would take the prefix away from every class that has it as a base

    identity_public_keys: Ed25519Keys = Field(
        min_length=1, description="public keys of the gateway's internal identity, separated by commas"
    )


class WebhookBodySettings(BaseSettings):
    """What whoever takes a webhook's body in is told."""

    model_config = _CONFIG  # as above

    webhook_bytes: int = Field(
        1024 * 1024, ge=64 * 1024, le=2 * 1024 * 1024, description="largest body of a webhook in bytes; over it: 413"
    )


Settings = TypeVar("Settings", bound=BaseSettings)


def load(model: type[Settings]) -> Settings:
    """Read settings from the environment; raise `SettingsError` with a sentence that names the wrong one."""
    try:
        return model()
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        name = PREFIX + str(first["loc"][0]).upper() if first["loc"] else "the settings"
        raise SettingsError(f"{name} is wrong: {first['msg'].removeprefix('Value error, ')}") from None
