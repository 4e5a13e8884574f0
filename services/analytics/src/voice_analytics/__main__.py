"""``voice-analytics``: the service under gunicorn."""

from __future__ import annotations

from voice_analytics.settings import AnalyticsSettings
from voice_common.serving import serve


def main() -> None:
    """Serve until SIGTERM."""
    serve("analytics", "voice_analytics.app:application", AnalyticsSettings)


if __name__ == "__main__":
    main()
