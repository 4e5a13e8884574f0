"""The messages of a history that an event carries, whoever wrote them down: as a conversation's end and gathers do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from voice_common.store.envelope import Envelope
from voice_common.store.transcript import ASSISTANT, USER
from voice_common.times import read_event_time
from voice_webhooks.contribution.values import objects_of, text_of, word_of

CONVERSATION_ENDED = "call.conversation.ended"
GATHERS = frozenset({"call.ai_gather.ended", "call.ai_gather.message_history_updated"})
_ROLES = {
    **dict.fromkeys(("user", "human", "caller", "customer"), USER),
    **dict.fromkeys(("assistant", "agent", "ai", "bot"), ASSISTANT),
}


class Told(NamedTuple):
    """One message: `role` as it was sent, in lower case; `at` its own time, else its event's, in milliseconds."""

    role: str
    text: str | None
    at: int
    message: Mapping[str, Any]


def role_of(word: object) -> str | None:
    """Read who spoke, in any of the words that are used for it; ``None`` for anybody else."""
    return _ROLES.get(word_of(word))


def text_of_content(content: object) -> str | None:
    """Read what a message says: a text, or a list of parts of which some are texts."""
    if isinstance(content, list):
        parts = [text for part in objects_of(content) if (text := text_of(part.get("text"))) is not None]
        return " ".join(parts) or None
    return text_of(content)


def messages_of(envelope: Envelope) -> Iterator[Told]:
    """Give the messages of an event that carries a history, in their order there."""
    if envelope.type == CONVERSATION_ENDED:
        messages = envelope.payload.get("messages")
    elif envelope.type in GATHERS:
        messages = envelope.payload.get("message_history")
    else:
        return
    for message in objects_of(messages):
        at = read_event_time(message.get("timestamp"))
        yield Told(
            word_of(message.get("role")),
            text_of_content(message.get("content")),
            envelope.occurred_at if at is None else at,
            message,
        )
