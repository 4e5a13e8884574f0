"""Made-up calls for the tests of recordings, and the headers that the gateway adds for a caller."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from state_factories import in_english

from voice_common.identity import IDENTITY_HEADER, Identity, IdentitySigner, new_key_pair
from voice_common.mongo import Database
from voice_common.store.conversations import CONVERSATIONS, conversation_document
from voice_common.store.lattice import Stamped
from voice_common.store.legs import Hangup, Leg
from voice_common.store.state import CallState, Outcome, RecordingFacts, ToolCall
from voice_common.store.transcript import Line, Lines, Source
from voice_common.times import now_ms

PRIVATE_KEY, PUBLIC_KEY = new_key_pair()
TENANT = "acme"
T0 = 1_736_935_200_000
"""2025-01-15T10:00:00Z."""

_events = itertools.count()


def identity_headers(
    tenant: str | None = TENANT,
    *,
    scopes: Iterable[str] = ("recordings:read", "conversations:read"),
    service: str = "recordings",
) -> dict[str, str]:
    identity = Identity(tenant, frozenset(scopes), "request-1")
    return {IDENTITY_HEADER: IdentitySigner(PRIVATE_KEY).sign(identity, service)}


def joined(*parts: CallState) -> CallState:
    state = CallState()
    for part in parts:
        state = state.join(part)
    return state


def initiated(at: int = T0, *, leg: str = "leg:a") -> CallState:
    event = _event()
    return CallState(
        started_at=at,
        newest_at=at,
        legs={
            leg: Leg(
                Stamped(at, event, None),
                Stamped(at, event, "inbound"),
                Stamped(at, event, "+13125550100"),
                Stamped(at, event, "+13125550199"),
                opened=True,
            )
        },
    )


def answered(at: int = T0 + 2_000) -> CallState:
    return CallState(started_at=at, newest_at=at, answered_at=at)


def hung_up(at: int = T0 + 62_000, *, leg: str = "leg:a", cause: str = "normal_clearing") -> CallState:
    event = _event()
    return CallState(
        started_at=at,
        newest_at=at,
        hangup=Stamped(at, event, Hangup(at, cause)),
        legs={leg: Leg(Stamped(at, event, None), hung_up=True)},
    )


def recorded(
    key: str,
    *urls: str,
    started_at: int | None = T0 + 3_000,
    ended_at: int | None = T0 + 60_000,
    at: int = T0 + 61_000,
) -> CallState:
    facts = RecordingFacts(started_at, ended_at, urls)
    return CallState(started_at=at, newest_at=at, recordings={key: Stamped(at, _event(), facts)})


def said(role: str, text: str, at: int, *, event: str | None = None, source: Source = Source.TRANSCRIPT) -> CallState:
    return heard(event or _event(), at, [(role, text)], source=source)


def heard(event: str, at: int, lines: Sequence[tuple[str, str]], *, source: Source) -> CallState:
    told = tuple(Line(role, text, at, 0 if role == "user" else None) for role, text in lines)
    return CallState(started_at=at, newest_at=at, evidence_at=at, lines={(source, event): Lines(at, told)})


def tool_called(
    key: str, at: int, *, name: str | None = None, arguments: str | None = None, outcome: Outcome | None = None
) -> CallState:
    event = _event()
    call = ToolCall(
        Stamped(at, event, None),
        None if name is None else Stamped(at, event, name),
        None if arguments is None else Stamped(at, event, arguments),
        None if outcome is None else Stamped(at, event, outcome),
    )
    return CallState(started_at=at, newest_at=at, evidence_at=at, tools={key: call})


def completed_call(at: int = T0) -> CallState:
    return joined(initiated(at), answered(at + 2_000), hung_up(at + 62_000))


def failed_call(at: int = T0) -> CallState:
    return joined(initiated(at), hung_up(at + 20_000, cause="no_answer"))


def open_call(at: int | None = None) -> CallState:
    """A call that has not ended; by default it began a minute ago."""
    started = now_ms() - 60_000 if at is None else at
    return joined(initiated(started), answered(started + 2_000))


async def put(database: Database, state: CallState, *, tenant: str = TENANT, session: str | None = None) -> str:
    """Store one call as the projector does; gives its id."""
    key = session or str(uuid.uuid4())
    document = conversation_document(tenant, key, state, in_english)
    await database[CONVERSATIONS].replace_one({"_id": document["_id"]}, document, upsert=True)
    return key


async def put_many(database: Database, states: Mapping[str, CallState], *, tenant: str = TENANT) -> None:
    """Store many calls by their ids."""
    documents: list[dict[str, Any]] = [
        conversation_document(tenant, session, state, in_english) for session, state in states.items()
    ]
    await database[CONVERSATIONS].insert_many(documents)


def _event() -> str:
    return f"event-{next(_events):06}"
