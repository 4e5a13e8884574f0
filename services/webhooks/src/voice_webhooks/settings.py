"""What the webhooks service is told."""

from __future__ import annotations

from pydantic import Field

from voice_common.settings import Ed25519Keys, IdentitySettings, StoreSettings, WebhookBodySettings


class WebhooksSettings(StoreSettings, IdentitySettings, WebhookBodySettings):
    """Settings of the webhooks service."""

    telnyx_public_keys: Ed25519Keys = Field(
        default_factory=list, description="Telnyx public keys that verify tenants without keys of their own"
    )
    webhook_levels: int = Field(
        100, ge=10, le=200, description="levels that a webhook's JSON may be nested; deeper: 400, kept in quarantine"
    )
    intake_queue_events: int = Field(4096, ge=1, description="events that may wait for a commit; beyond it: 503")
    intake_queue_bytes: int = Field(64 * 1024 * 1024, ge=1 << 20, description="bytes that may wait for a commit")
    verifier: bool = Field(
        default=True, description="check signatures that come many at a time in a process beside each worker"
    )
