"""One event's contribution, put together."""

from __future__ import annotations

from voice_common.store.envelope import Envelope
from voice_common.store.state import CallState
from voice_webhooks.contribution.legs import hangup_of, legs_of, links_of, spoken_start
from voice_webhooks.contribution.recordings import recording_texts_of, recordings_of
from voice_webhooks.contribution.sentiment import sentiment_of
from voice_webhooks.contribution.tools import tools_of
from voice_webhooks.contribution.transcripts import gather_of, is_partial, lines_of

_EVIDENCE = frozenset(
    {
        "ai.assistant.transcript",
        "ai.assistant.tool_call",
        "ai.assistant.response",
        "ai.assistant.ended",
        "call.transcription",
        "call.conversation.ended",
    }
)
_SESSION_ENDS = frozenset({"ai.assistant.ended", "call.conversation.ended"})


def contribution_of(envelope: Envelope, key: str) -> CallState | None:
    """Give what an event that `key` verified adds to its call's state; ``None`` for a partial transcript.

    Dispatches on the raw event type; a type that is not known contributes its ids and its time.
    """
    if is_partial(envelope):
        return None
    gather = gather_of(envelope)
    tools = tools_of(envelope)
    shows_an_answer = envelope.type in _EVIDENCE or gather is not None or bool(tools)
    return CallState(
        keys=frozenset({key}),
        ids=envelope.ids,
        links=links_of(envelope),
        started_at=spoken_start(envelope),
        newest_at=envelope.occurred_at,
        answered_at=envelope.occurred_at if envelope.type == "call.answered" else None,
        evidence_at=envelope.occurred_at if shows_an_answer else None,
        hangup=hangup_of(envelope),
        sentiment=sentiment_of(envelope),
        legs=legs_of(envelope),
        recordings=recordings_of(envelope),
        tools=tools,
        lines=lines_of(envelope),
        gather=gather,
        recording_texts=recording_texts_of(envelope),
        session_ended_at=envelope.occurred_at if envelope.type in _SESSION_ENDS else None,
    )
