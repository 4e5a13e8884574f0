"""What an event says was spoken. Partial transcripts say nothing."""

from __future__ import annotations

from voice_common.store.envelope import Envelope
from voice_common.store.transcript import ASSISTANT, USER, History, Line, Lines, Source
from voice_webhooks.contribution.histories import CONVERSATION_ENDED, GATHERS, messages_of, role_of, text_in
from voice_webhooks.contribution.legs import leg_of
from voice_webhooks.contribution.sentiment import score_of, scores_of
from voice_webhooks.contribution.values import flag_of, object_of, text_of, word_of

_TRANSCRIPT, _TRANSCRIPTION = "ai.assistant.transcript", "call.transcription"


def is_partial(envelope: Envelope) -> bool:
    """Tell whether the event is a partial transcript; one that does not say is final."""
    if envelope.type == _TRANSCRIPT:
        return flag_of(envelope.payload.get("is_final")) is False
    if envelope.type == _TRANSCRIPTION:
        return flag_of(object_of(envelope.payload.get("transcription_data")).get("is_final")) is False
    return False


def lines_of(envelope: Envelope) -> dict[tuple[str, str], Lines]:
    """Give the utterances that the event tells of, by their source and its id."""
    payload = envelope.payload
    if envelope.type == _TRANSCRIPT:
        text = text_in(payload, "text", "transcript", "content")
        return _single(envelope, Source.TRANSCRIPT, role_of(payload.get("role")), text)
    if envelope.type == _TRANSCRIPTION:
        data = object_of(payload.get("transcription_data"))
        return _transcription(envelope, word_of(data.get("transcription_track")), text_of(data.get("transcript")))
    if envelope.type == "ai.assistant.response":
        return _single(envelope, Source.RESPONSE, ASSISTANT, text_in(payload, "text"))
    if envelope.type == CONVERSATION_ENDED:
        lines = _history(envelope)
        return {(Source.CONVERSATION, envelope.event): Lines(envelope.occurred_at, lines)} if lines else {}
    return {}


def gather_of(envelope: Envelope) -> History | None:
    """Give the whole history that a gather's event carries."""
    if envelope.type not in GATHERS:
        return None
    lines = _history(envelope)
    return History(envelope.occurred_at, envelope.event, lines) if lines else None


def _single(envelope: Envelope, source: Source, role: str | None, text: str | None) -> dict[tuple[str, str], Lines]:
    if text is None or role is None:
        return {}
    line = Line(role, text, envelope.occurred_at, score_of(text) if role == USER else None)
    return {(source, envelope.event): Lines(envelope.occurred_at, (line,))}


def _transcription(envelope: Envelope, track: str, text: str | None) -> dict[tuple[str, str], Lines]:
    """Give a line of one leg and track: who spoke is known once it is known which leg is the call's earliest one."""
    if text is None:
        return {}
    role = ASSISTANT if track == "outbound" else USER
    line = Line(role, text, envelope.occurred_at, score_of(text))
    return {(Source.TRANSCRIPTION, envelope.event): Lines(envelope.occurred_at, (line,), leg_of(envelope), track)}


def _history(envelope: Envelope) -> tuple[Line, ...]:
    said = [
        (role, told.text, told.at)
        for told in messages_of(envelope)
        if told.text is not None and (role := role_of(told.role)) is not None
    ]
    scores = scores_of(text for role, text, _ in said if role == USER)
    return tuple(Line(role, text, at, next(scores) if role == USER else None) for role, text, at in said)
