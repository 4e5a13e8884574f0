"""A call as it is told: the events that Telnyx would send, and beside them what is true of the call."""

from __future__ import annotations

import base64
import random
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import orjson

from voice_local.simulation.parties import Parties

_NAMESPACE = uuid.UUID("6a1c1b9e-6f0e-5c1a-9a53-3d0a2f4f7c11")
_AI_PATH = "/api/webhooks/telnyx/voice/conversational-ai"
_VOICE_PATH = "/api/webhooks/telnyx/voice"


@dataclass(frozen=True, slots=True)
class Event:
    """One event; `at` in milliseconds."""

    id: str
    type: str
    at: int
    data: Mapping[str, Any]

    @property
    def path(self) -> str:
        """The webhook endpoint that an application for this type would name."""
        return _AI_PATH if self.type.startswith(("ai.assistant.", "call.conversation")) else _VOICE_PATH

    def body(self, attempt: int) -> bytes:
        """Give the bytes of the delivery number `attempt`."""
        return orjson.dumps({"data": self.data, "meta": {"attempt": attempt, "delivered_to": self.path}})


@dataclass(frozen=True, slots=True)
class Call:
    """What is true of one call; times in milliseconds, `tools` the outcomes that were told."""

    session: str
    started_at: int
    answered_at: int | None
    ended_at: int | None
    sentiment: str | None
    recorded: bool
    tools: Mapping[str, bool]
    events: tuple[Event, ...]

    @property
    def completed(self) -> bool:
        """Whether somebody answered and everybody hung up."""
        return self.answered_at is not None and self.ended_at is not None


@dataclass(frozen=True, slots=True)
class Leg:
    """One leg of a call, with what every event of it says."""

    start: int
    start_text: str
    ids: Mapping[str, str]
    parties: Mapping[str, str]


@dataclass(slots=True)
class Story:
    """Tells one call, event by event; `now` is the moment in milliseconds at which the next thing happens."""

    parties: Parties
    rng: random.Random
    name: str
    now: int
    storage: int | None = None
    """The port of the storage in which recordings are; ``None``: they are nowhere."""
    started_at: int = 0
    answered_at: int | None = None
    ended_at: int | None = None
    sentiment: str | None = None
    mood: str | None = None
    recorded: bool = False
    tools: dict[str, bool] = field(default_factory=dict)
    told: list[Event] = field(default_factory=list)
    connection: str = ""
    assistant: str | None = None

    def __post_init__(self) -> None:
        self.started_at = self.now
        self.connection = self.rng.choice(self.parties.connections)
        self.assistant = self.rng.choice(self.parties.assistants) if self.parties.assistants else None

    @property
    def session(self) -> str:
        """The call's id."""
        return self.made_up("session")

    def made_up(self, what: str) -> str:
        """Give an id that is the same whenever this story is told."""
        return str(uuid.uuid5(_NAMESPACE, f"{self.name}/{what}"))

    def chance(self, share: float) -> bool:
        """Decide something that is so in a share (0…1) of all cases."""
        return self.rng.random() < share

    def wait(self, least: float, most: float) -> None:
        """Let some seconds go by; never none, so that no two events happen at once."""
        self.now += self.rng.randrange(int(least * 1000), int(most * 1000) + 1) + 1

    def text_of(self, ms: int) -> str:
        """Write a moment with more digits than count, as Telnyx does."""
        moment = datetime.fromtimestamp(ms // 1000, UTC)
        return f"{moment:%Y-%m-%dT%H:%M:%S}.{ms % 1000:03}{self.rng.randrange(1000):03}Z"

    def leg(self, caller: str, callee: str) -> Leg:
        """Begin a leg."""
        number = len(self.told)
        ids = {
            "call_control_id": f"v3:{self.made_up(f'control/{number}')}",
            "call_leg_id": self.made_up(f"leg/{number}"),
        }
        return Leg(self.now, self.text_of(self.now), ids, {"from": caller, "to": callee})

    def tell(self, kind: str, leg: Leg, /, **payload: object) -> str:
        """Tell of something that happens now; give the event's id. What is ``...`` is left out."""
        event = self.made_up(f"event/{len(self.told)}")
        said: dict[str, Any] = {
            **leg.ids,
            "call_session_id": self.session,
            "connection_id": self.connection,
            "client_state": self.rng.choice((None, base64.b64encode(b"simulated").decode())),
            **payload,
        }
        data = {
            "record_type": "event",
            "event_type": kind,
            "id": event,
            "occurred_at": self.text_of(self.now),
            "payload": {key: value for key, value in said.items() if value is not ...},
        }
        self.told.append(Event(event, kind, self.now, data))
        return event

    def tell_ai(self, kind: str, leg: Leg, /, **payload: object) -> str:
        """Tell of something that the AI assistant did; the assistant's id is optional there."""
        assistant = self.assistant if self.assistant is not None and self.chance(0.8) else ...
        return self.tell(kind, leg, assistant_id=assistant, conversation_id=self.made_up("conversation"), **payload)

    def over(self) -> Call:
        """Give the call as it was told."""
        return Call(
            self.session,
            self.started_at,
            self.answered_at,
            self.ended_at,
            self.sentiment if self.sentiment is not None else self.mood,
            self.recorded,
            dict(self.tools),
            tuple(self.told),
        )
