"""What an event says was spoken. Partial transcripts say nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from voice_common.store.envelope import Envelope
from voice_common.store.state import History, Line, Lines, Source
from voice_common.times import read_event_time
from voice_webhooks.contribution.sentiment import score_of, scores_of
from voice_webhooks.contribution.values import flag_of, object_of, objects_of, text_of, word_of

_ROLES = frozenset({"user", "assistant"})
_SCORED = "user"
_GATHERS = frozenset({"call.ai_gather.ended", "call.ai_gather.message_history_updated"})
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
        text = next((found for key in ("text", "transcript", "content") if (found := text_of(payload.get(key)))), None)
        return _single(envelope, Source.TRANSCRIPT, word_of(payload.get("role")), text)
    if envelope.type == _TRANSCRIPTION:
        data = object_of(payload.get("transcription_data"))
        role = "assistant" if word_of(data.get("transcription_track")) == "outbound" else "user"
        return _single(envelope, Source.TRANSCRIPTION, role, text_of(data.get("transcript")))
    if envelope.type == "ai.assistant.response":
        return _single(envelope, Source.RESPONSE, "assistant", text_of(payload.get("text")))
    if envelope.type == "call.conversation.ended":
        lines = _history(objects_of(payload.get("messages")), envelope.occurred_at)
        return {(Source.CONVERSATION, envelope.event): Lines(envelope.occurred_at, lines)} if lines else {}
    return {}


def gather_of(envelope: Envelope) -> History | None:
    """Give the whole history that a gather's event carries."""
    if envelope.type not in _GATHERS:
        return None
    lines = _history(objects_of(envelope.payload.get("message_history")), envelope.occurred_at)
    return History(envelope.occurred_at, envelope.event, lines) if lines else None


def _single(envelope: Envelope, source: Source, role: str, text: str | None) -> dict[tuple[str, str], Lines]:
    if text is None or role not in _ROLES:
        return {}
    score = score_of(text) if role == _SCORED else None
    line = Line(role, text, envelope.occurred_at, score)
    return {(source, envelope.event): Lines(envelope.occurred_at, (line,))}


def _history(messages: Iterable[Mapping[str, Any]], occurred_at: int) -> tuple[Line, ...]:
    said: list[tuple[str, str, int]] = []
    for message in messages:
        role, text = word_of(message.get("role")), text_of(message.get("content"))
        if text is not None and role in _ROLES:
            said_at = read_event_time(message.get("timestamp"))
            said.append((role, text, occurred_at if said_at is None else said_at))
    scores = scores_of(text for role, text, _ in said if role == _SCORED)
    return tuple(Line(role, text, at, next(scores) if role == _SCORED else None) for role, text, at in said)
