"""What the two endpoints take and answer. They read leniently: only what a refusal depends on is required here."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, WithJsonSchema
from typing_extensions import TypedDict

from voice_common.web.shapes import closed, open_ended
from voice_webhooks.reception import Result

EventId = Annotated[Any, WithJsonSchema({"anyOf": [{"type": "string", "minLength": 1}, {"type": "integer"}]})]
"""A number is read as its digits."""


class _Optional(TypedDict, total=False):
    occurred_at: Annotated[Any, Field(description="When it happened, RFC 3339; without one, when it arrived.")]
    payload: Annotated[
        Any,
        Field(description="The event's own fields. `call_session_id` names the call; every other one may be missing."),
    ]


@open_ended
class Event(_Optional):
    """One event, of any type; unknown types are kept, too."""

    id: Annotated[EventId, Field(description="Names the event: one that comes again is stored once.")]
    event_type: Annotated[str, Field(min_length=1, description="`call.initiated`, `ai.assistant.transcript`, …")]


@open_ended
class Envelope(TypedDict):
    """Telnyx's envelope, API version 2."""

    data: Event


@open_ended
class BareEvent(Event, total=False):
    """An event without an envelope: its fields are read as if under `data`."""

    data: Annotated[Any, WithJsonSchema({"not": {"type": "object"}, "description": "No object; else it is read."})]


@closed
class WebhookAnswer(TypedDict):
    """What became of a webhook."""

    status: Annotated[
        Result,
        Field(
            description="`accepted`: stored for good. `duplicate`: it was stored before. `quarantined`: stored for "
            "good, and given to its tenant once one claims it."
        ),
    ]
