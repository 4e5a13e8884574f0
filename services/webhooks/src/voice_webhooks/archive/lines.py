"""The lines of an export: one JSON object each, told apart by ``kind``.

``event``: tenant, stream, event, type, occurred_at, received_at, key (that verified it), and the body's bytes as they
were received: ``body`` where they are UTF-8, else ``body_base64``. ``tenant``: with its claims; ``token``: its SHA-256,
never its text; ``quarantined``: a signed body that no tenant has, and the reason. Times are RFC 3339 in UTC.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import orjson
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError

from voice_common.ids import is_tenant_id
from voice_common.settings import Ed25519Key
from voice_common.store.envelope import Envelope, UnreadableEventError, read_envelope
from voice_common.store.events import StoredEvent
from voice_common.store.tenants import AreaName, Claim, ClaimKind, RetentionKind, Tenant
from voice_common.times import read_event_time, render_ms, render_optional_ms
from voice_webhooks.intake import event_of
from voice_webhooks.quarantine import UNCLAIMED

LONGEST_LINE = 16 * 1024 * 1024
"""Bytes of a line; a body of 1 MiB is at most 6 MiB of JSON."""


class BadLineError(ValueError):
    """A line that is nothing that can be stored; the text says why."""


@dataclass(frozen=True, slots=True)
class Quarantined:
    """A body in quarantine; `envelope` is ``None`` for one that can't be read, and then `reason` says why."""

    key: str
    reason: str
    received_at: int
    body: bytes
    envelope: Envelope | None


@dataclass(frozen=True, slots=True)
class TokenLine:
    """A token as it is stored: its SHA-256 and what it may; times in milliseconds."""

    digest: str
    document: Mapping[str, Any]


Line = StoredEvent | Tenant | TokenLine | Quarantined


def event_line(event: StoredEvent) -> dict[str, Any]:
    """Give the line of an event."""
    return {
        "kind": "event",
        "tenant": event.tenant,
        "stream": event.stream,
        "event": event.event,
        "type": event.type,
        "occurred_at": render_ms(event.occurred_at),
        "received_at": render_ms(event.received_at),
        "key": event.key,
        **_body_fields(event.body),
    }


def tenant_line(tenant: Tenant) -> dict[str, Any]:
    """Give the line of a tenant."""
    return {
        "kind": "tenant",
        "id": tenant.id,
        "name": tenant.name,
        "created_at": render_ms(tenant.created_at),
        "limits": {str(area): figure for area, figure in tenant.limits.items()},
        "telnyx_public_keys": list(tenant.telnyx_public_keys),
        "retention": {str(kind): days for kind, days in tenant.retention.items()},
        "claims": [{"kind": str(claim.kind), "value": claim.value} for claim in tenant.claims],
    }


def token_line(document: Mapping[str, Any]) -> dict[str, Any]:
    """Give the line of a token, from its document."""
    return {
        "kind": "token",
        "sha256": document["_id"],
        "tenant": document["tenant"],
        "name": document["name"],
        "scopes": list(document["scopes"]),
        **{name: render_optional_ms(document[name]) for name in ("created_at", "expires_at", "revoked_at")},
    }


def quarantined_line(document: Mapping[str, Any]) -> dict[str, Any]:
    """Give the line of a body in quarantine, from its document."""
    return {
        "kind": "quarantined",
        "key": document["_id"]["key"],
        "reason": document["reason"],
        "received_at": render_ms(document["received_at"]),
        **_body_fields(document["body"]),
    }


def read_line(text: bytes) -> Line:
    """Read a line, and see that what it says of its body is what the body says; raise `BadLineError`."""
    if len(text) > LONGEST_LINE:
        raise BadLineError(f"it is longer than {LONGEST_LINE} bytes")
    try:
        document = orjson.loads(text)
    except orjson.JSONDecodeError:
        raise BadLineError("it is not JSON") from None
    if not isinstance(document, dict) or document.get("kind") not in _KINDS:
        raise BadLineError(f"it is of no kind that can be imported ({', '.join(_KINDS)})")
    try:
        read: _Read = _LINES.validate_python(document)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"][1:]) or "it"
        raise BadLineError(f"{where}: {first['msg'].removeprefix('Value error, ')}") from None
    return read.line()


def _body_fields(body: bytes) -> dict[str, str]:
    try:
        return {"body": body.decode()}
    except UnicodeDecodeError:
        return {"body_base64": base64.b64encode(body).decode()}


def _moment(value: object) -> int:
    ms = read_event_time(value)
    if ms is None:
        message = "must be an RFC 3339 date-time"
        raise ValueError(message)
    return ms


def _optional_moment(value: object) -> int | None:
    return None if value is None else _moment(value)


def _tenant_id(value: object) -> str:
    if not isinstance(value, str) or not is_tenant_id(value):
        message = "must be a tenant's id"
        raise ValueError(message)
    return value


_Moment = Annotated[int, BeforeValidator(_moment)]
_OptionalMoment = Annotated[int | None, BeforeValidator(_optional_moment)]
_TenantId = Annotated[str, BeforeValidator(_tenant_id)]
_Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, hide_input_in_errors=True)


class _Body(_Strict):
    body: str | None = None
    body_base64: str | None = None

    def bytes(self) -> bytes:
        if (self.body is None) == (self.body_base64 is None):
            raise BadLineError("it must have body or body_base64, and not both")
        if self.body is not None:
            return self.body.encode()
        try:
            return base64.b64decode(self.body_base64 or "", validate=True)
        except binascii.Error:
            raise BadLineError("body_base64 is not base64") from None


class _Event(_Body):
    kind: Literal["event"]
    tenant: _TenantId
    stream: str
    event: str
    type: str
    occurred_at: _Moment
    received_at: _Moment
    key: Ed25519Key

    def line(self) -> StoredEvent:
        body = self.bytes()
        try:
            envelope = read_envelope(body, received_at=self.received_at)
        except UnreadableEventError as error:
            raise BadLineError(str(error)) from None
        event = event_of(self.tenant, envelope, self.key, body, received_at=self.received_at)
        for name in ("stream", "event", "type", "occurred_at"):
            if getattr(event, name) != getattr(self, name):
                raise BadLineError(f"{name} is not what the body says")
        return event


class _Claim(_Strict):
    kind: str
    value: str = Field(min_length=1)


class _Tenant(_Strict):
    kind: Literal["tenant"]
    id: _TenantId
    name: str
    created_at: _Moment
    limits: dict[str, Annotated[int, Field(ge=1)]]
    telnyx_public_keys: list[Ed25519Key]
    retention: dict[str, Annotated[int, Field(ge=1)] | None]
    claims: list[_Claim]

    def line(self) -> Tenant:
        try:
            return Tenant(
                self.id,
                self.name,
                {AreaName(area): figure for area, figure in self.limits.items()},
                tuple(self.telnyx_public_keys),
                tuple(Claim(ClaimKind(claim.kind), claim.value) for claim in self.claims),
                self.created_at,
                retention={RetentionKind(kind): days for kind, days in self.retention.items()},
            )
        except ValueError as error:  # of a name that is in none of the enumerations
            raise BadLineError(str(error)) from None


class _Token(_Strict):
    kind: Literal["token"]
    sha256: _Digest
    tenant: _TenantId
    name: str
    scopes: list[str]
    created_at: _Moment
    expires_at: _OptionalMoment
    revoked_at: _OptionalMoment

    def line(self) -> TokenLine:
        return TokenLine(self.sha256, self.model_dump(exclude={"kind", "sha256"}))


class _Quarantined(_Body):
    kind: Literal["quarantined"]
    key: Ed25519Key
    reason: str | None = None  # older exports have none
    received_at: _Moment

    def line(self) -> Quarantined:
        body = self.bytes()
        if self.reason is not None and self.reason != UNCLAIMED:
            # Refused for more than its envelope tells, such as its nesting: read as unclaimed it would be released.
            return Quarantined(self.key, self.reason, self.received_at, body, None)
        try:
            envelope = read_envelope(body, received_at=self.received_at)
        except UnreadableEventError as error:
            return Quarantined(self.key, str(error), self.received_at, body, None)
        return Quarantined(self.key, UNCLAIMED, self.received_at, body, envelope)


_Read = _Event | _Tenant | _Token | _Quarantined
_LINES: TypeAdapter[_Read] = TypeAdapter(Annotated[_Read, Field(discriminator="kind")])
_KINDS = ("tenant", "token", "event", "quarantined")
