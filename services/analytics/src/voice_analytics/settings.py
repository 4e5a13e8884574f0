"""What the analytics service and its worker are told."""

from __future__ import annotations

from pydantic import Field

from voice_common.settings import IdentitySettings, StoreSettings


class WorkerSettings(StoreSettings):
    """Settings of the process that keeps the rollups."""

    analytics_poll_seconds: float = Field(0.25, gt=0, le=60, description="pause between looks for dirty hours")


class AnalyticsSettings(WorkerSettings, IdentitySettings):
    """Settings of the service that answers."""

    analytics_store_seconds: float = Field(2.0, gt=0, le=60, description="longest wait for the store to answer at all")
    analytics_scan_seconds: float = Field(
        10.0, gt=0, le=300, description="longest scan over calls that no rollup covers yet"
    )
    analytics_worker_in_process: bool = Field(
        default=False, description="also keep the rollups in the web process, without a worker of its own"
    )
