"""What the webhooks service is told."""

from __future__ import annotations

from pydantic import Field

from voice_common.settings import Ed25519Keys, IdentitySettings, StoreSettings


class WebhooksSettings(StoreSettings, IdentitySettings):
    """Settings of the webhooks service."""

    telnyx_public_keys: Ed25519Keys = Field(
        default_factory=list, description="Telnyx public keys that verify tenants without keys of their own"
    )
    intake_queue_events: int = Field(4096, ge=1, description="events that may wait for a commit; beyond it: 503")
    intake_queue_bytes: int = Field(64 * 1024 * 1024, ge=1 << 20, description="bytes that may wait for a commit")
