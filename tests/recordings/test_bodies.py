"""What is made of a recording's own times."""

from __future__ import annotations

from voice_common.store.facts import Recording
from voice_recordings.bodies import recording


def test_a_recording_whose_end_lies_before_its_start_has_no_negative_duration() -> None:
    answer = recording(Recording("r", ("https://example.com/r.mp3",), 20_000, 10_000))
    assert answer["recording"]["duration_seconds"] == 0
