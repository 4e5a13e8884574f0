"""What an event says of recordings."""

from __future__ import annotations

from voice_common.store.envelope import Envelope, read_id
from voice_common.store.lattice import Stamped
from voice_common.store.state import RecordingFacts
from voice_common.times import read_event_time
from voice_webhooks.contribution.values import object_of, text_of, web_url_of

_SAVED = "call.recording.saved"
_VOICEMAIL = "calls.voicemail.completed"
_TRANSCRIBED = "call.recording.transcription.saved"
_FORMATS = ("mp3", "wav")


def recordings_of(envelope: Envelope) -> dict[str, Stamped[RecordingFacts]]:
    """Give the recording that the event saved, by its id; without one the event's id names it."""
    payload = envelope.payload
    if envelope.type == _SAVED:
        facts = RecordingFacts(
            read_event_time(payload.get("recording_started_at")),
            read_event_time(payload.get("recording_ended_at")),
            _urls(payload.get("public_recording_urls")) or _urls(payload.get("recording_urls")),
        )
    elif envelope.type == _VOICEMAIL and payload.get("recording_url"):
        facts = RecordingFacts(None, None, _urls({"mp3": payload.get("recording_url")}))
    else:
        return {}
    key = read_id(payload.get("recording_id")) or envelope.event
    return {key: Stamped(envelope.occurred_at, envelope.event, facts)}


def recording_texts_of(envelope: Envelope) -> dict[str, Stamped[str]]:
    """Give what was said in a recording as the provider transcribed it, by the recording's id."""
    text = text_of(envelope.payload.get("transcription_text")) if envelope.type == _TRANSCRIBED else None
    if text is None:
        return {}
    key = read_id(envelope.payload.get("recording_id")) or envelope.event
    return {key: Stamped(envelope.occurred_at, envelope.event, text)}


def _urls(value: object) -> tuple[str, ...]:
    """Give those URLs that a client can follow, mp3 first: an account's own storage (``s3://``, ``gs://``) has none."""
    by_format = object_of(value)
    names = [*_FORMATS, *sorted(name for name in by_format if name not in _FORMATS)]
    return tuple(url for name in names if (url := web_url_of(by_format.get(name))) is not None)
