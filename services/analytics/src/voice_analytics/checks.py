"""What ``voice doctor`` looks at for the analytics service and its worker."""

from __future__ import annotations

from voice_analytics.marks import DIRTY_HOURS
from voice_analytics.scan import INDEX_NAME
from voice_analytics.settings import AnalyticsSettings
from voice_common.doctor.findings import Check, Finding, Surroundings, failed, ok, warning
from voice_common.doctor.indexes import index_check
from voice_common.doctor.settings import settings_check
from voice_common.lease import LEASES

INDEXES = {"rollups": ("by_version",), "dirty_hours": ("by_hour",), "conversations": (INDEX_NAME,)}
_MANY = 10_000


async def _rollups(surroundings: Surroundings) -> Finding:
    """Look whether a worker keeps the rollups, and how much is left for it to do."""
    database = surroundings.database
    marks = await database[DIRTY_HOURS].count_documents({}, limit=_MANY)
    kept = {"_id": "rollups", "$expr": {"$gt": ["$until", "$$NOW"]}}
    if await database[LEASES].find_one(kept) is None:
        return failed(
            f"no analytics worker runs, and {marks} marked hours wait: answers stay right and become slow",
            "start voice-analytics-worker, or set VOICE_ANALYTICS_WORKER_IN_PROCESS",
        )
    if marks >= _MANY:
        return warning(
            f"{marks} or more marked hours wait for the analytics worker",
            "after a rebuild or an import that passes; else look into the log of the analytics worker",
        )
    return ok(f"a worker keeps them; {marks} marked hours wait")


CHECKS = (
    settings_check("analytics", AnalyticsSettings),
    index_check("analytics", INDEXES),
    Check("rollups", _rollups),
)
