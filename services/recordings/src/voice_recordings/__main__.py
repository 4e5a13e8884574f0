"""``voice-recordings``: the service under gunicorn."""

from __future__ import annotations

from voice_common.serving import serve
from voice_recordings.settings import RecordingsSettings


def main() -> None:
    """Serve until SIGTERM."""
    serve("recordings", "voice_recordings.app:application", RecordingsSettings)


if __name__ == "__main__":
    main()
