"""What the recordings service is told."""

from __future__ import annotations

from pydantic import Field

from voice_common.settings import DurationMs, IdentitySettings, StoreSettings


class RecordingsSettings(StoreSettings, IdentitySettings):
    """Settings of the recordings service."""

    call_timeout: DurationMs = Field(
        "4h10m",
        validate_default=True,
        description="silence after which a call that never ended has failed, in seconds or as a duration",
    )
