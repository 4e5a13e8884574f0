"""The messages of a history that an event carries, whoever wrote them down: as a conversation's end and gathers do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from voice_common.store.envelope import Envelope
from voice_common.store.transcript import ASSISTANT, USER
from voice_common.times import read_event_time
from voice_webhooks.contribution.values import objects_of, text_of, word_of

CONVERSATION_ENDED = "call.conversation.ended"
GATHERS = frozenset(
    {"call.ai_gather.ended", "call.ai_gather.message_history_updated", "call.ai_gather.partial_results"}
)
"""Each of them carries the whole history so far; partial are the results alone."""
HISTORIES = GATHERS | {CONVERSATION_ENDED}

_TIMES = ("timestamp", "sent_at", "created_at")
"""Where a message has its own time: the webhooks' name, then the REST API's (a message is created after it is sent)."""

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
    """Read what a message says: a text, or a list of parts of which some are texts or have one."""
    if isinstance(content, list):
        parts = (text_of(part.get("text") if isinstance(part, dict) else part) for part in content)
        return " ".join(text for text in parts if text is not None) or None
    return text_of(content)


def text_in(said: Mapping[str, Any], *keys: str) -> str | None:
    """Give the first text that is under any of the keys, in their order."""
    return next((text for key in keys if (text := text_of_content(said.get(key))) is not None), None)


def messages_of(envelope: Envelope) -> Iterator[Told]:
    """Give the messages of an event that carries a history, in their order there."""
    if envelope.type == CONVERSATION_ENDED:
        messages = envelope.payload.get("messages")
    elif envelope.type in GATHERS:
        messages = envelope.payload.get("message_history")
    else:
        return
    for message in objects_of(messages):
        own = (read_event_time(message.get(key)) for key in _TIMES)
        yield Told(
            word_of(message.get("role")),
            text_in(message, "content", "text"),
            next((at for at in own if at is not None), envelope.occurred_at),
            message,
        )
