"""What ``voice doctor`` looks at for the recordings service, which reads what others keep."""

from __future__ import annotations

from voice_common.doctor.settings import settings_check
from voice_recordings.settings import RecordingsSettings

CHECKS = (settings_check("recordings", RecordingsSettings),)
