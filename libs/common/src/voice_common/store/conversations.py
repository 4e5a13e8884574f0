"""The collection ``conversations``: one document a call, its facts beside its state."""

from __future__ import annotations

from typing import Any

from voice_common.mongo import Database
from voice_common.store.facts import Knows, Phase, facts_of
from voice_common.store.indexes import ensure_index
from voice_common.store.state import CallState

CONVERSATIONS = "conversations"
VERSION = 3
"""Version of the code that makes these documents."""


def conversation_key(tenant: str, session: str) -> dict[str, str]:
    """Give the ``_id`` of a conversation."""
    return {"tenant": tenant, "session": session}


def conversation_document(tenant: str, session: str, state: CallState, knows: Knows) -> dict[str, Any]:
    """Give the document of a call: times and durations in milliseconds, the state under ``state``."""
    facts = facts_of(state, knows)
    return {
        "_id": conversation_key(tenant, session),
        "version": VERSION,
        "started_at": facts.started_at,
        "newest_at": facts.newest_at,
        "answered_at": facts.answered_at,
        "ended_at": facts.ended_at,
        "phase": str(facts.phase),
        "duration_ms": facts.duration_ms,
        "direction": facts.direction,
        "from": facts.caller,
        "to": facts.callee,
        "hangup_cause": facts.hangup_cause,
        "sentiment": facts.sentiment,
        "recording_available": facts.recording_available,
        "tools_succeeded": facts.tools_succeeded,
        "tools_known": facts.tools_known,
        "message_count": facts.message_count,
        "state": state.to_document(),
    }


def status_of(phase: str, newest_at: int, *, now: int, call_timeout_ms: int) -> str:
    """Give the status that callers see: an open call whose newest event is older than the time-out has failed."""
    if phase != Phase.OPEN:
        return phase
    return "failed" if newest_at < now - call_timeout_ms else "active"


async def create_conversation_indexes(database: Database) -> None:
    """Make the indexes of ``conversations``, which the webhooks service owns; safe to repeat."""
    conversations = database[CONVERSATIONS]
    await ensure_index(conversations, [("_id.tenant", 1), ("started_at", -1), ("_id.session", 1)], name="by_start")
    await ensure_index(
        conversations,
        [("_id.tenant", 1), ("phase", 1), ("started_at", -1), ("_id.session", 1), ("newest_at", 1)],
        name="by_phase",
    )
    await ensure_index(conversations, "_id.session", name="by_session")
    await ensure_index(conversations, [("version", 1), ("phase", 1)], name="by_version_and_phase")
