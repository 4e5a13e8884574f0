"""Signed webhooks of realistic calls, made ahead of a load so that making them costs it nothing."""

from __future__ import annotations

import base64
import itertools
import json
import random
import time
from collections.abc import Iterator
from typing import Any

from nacl.signing import SigningKey

from voice_common.identity import IDENTITY_HEADER
from voice_common.times import now_ms, render_ms

TARGET = "/api/webhooks/telnyx/voice"
CONNECTION = "1001"
_WORDS = ["hello", "order", "great", "problem", "thanks", "refund", "please", "table", "tomorrow", "terrible", "yes"]


def telnyx_headers(body: bytes, key: SigningKey) -> dict[str, str]:
    """Sign a body as Telnyx does, now."""
    timestamp = str(int(time.time()))
    signature = base64.b64encode(key.sign(timestamp.encode() + b"|" + body).signature).decode()
    return {"telnyx-timestamp": timestamp, "telnyx-signature-ed25519": signature}


def request_of(body: bytes, key: SigningKey, identity: str) -> bytes:
    """Make the whole HTTP request of a webhook as the gateway passes it on."""
    headers = {
        "Host": "voice",
        "Content-Type": "application/json",
        IDENTITY_HEADER: identity,
        **telnyx_headers(body, key),
    }
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"POST {TARGET} HTTP/1.1\r\n{lines}Content-Length: {len(body)}\r\n\r\n".encode() + body


def event_body(kind: str, number: str, payload: dict[str, Any], *, at: int) -> bytes:
    """Give the body of one event in Telnyx's envelope."""
    data = {
        "record_type": "event",
        "event_type": kind,
        "id": number,
        "occurred_at": render_ms(at),
        "payload": payload,
    }
    return json.dumps({"data": data, "meta": {"attempt": 1, "delivered_to": "https://voice.example/"}}).encode()


def call_bodies(name: str, rng: random.Random) -> list[bytes]:
    """Give the twelve events of one call, in order; the last one is the hangup."""
    ids = {
        "call_session_id": f"s-{name}", "call_leg_id": f"l-{name}", "call_control_id": f"v3:{name}",
        "connection_id": CONNECTION, "client_state": None,
    }  # fmt: skip
    at = now_ms()
    ticks = (at + step * 1000 for step in itertools.count())

    def said(role: str, *, final: bool) -> tuple[str, dict[str, Any]]:
        text = " ".join(rng.choices(_WORDS, k=rng.randrange(6, 20)))
        return "ai.assistant.transcript", {"role": role, "text": text, "is_final": final, "confidence": 0.9}

    kinds: list[tuple[str, dict[str, Any]]] = [
        ("call.initiated", {"direction": "incoming", "from": "+13125550100", "to": "+13125550101", "state": "parked"}),
        ("call.answered", {"from": "+13125550100", "to": "+13125550101", "state": "answered"}),
        said("assistant", final=True),
        said("user", final=False),
        said("user", final=True),
        (
            "ai.assistant.tool_call",
            {"tool_call_id": f"t-{name}", "name": "book", "arguments": "{}", "status": "started"},
        ),
        ("ai.assistant.tool_call", {"tool_call_id": f"t-{name}", "name": "book", "status": "succeeded"}),
        ("ai.assistant.response", {"text": "Your table is booked."}),
        said("user", final=True),
        ("ai.assistant.ended", {"reason": "done", "sentiment": "positive"}),
        (
            "call.recording.saved",
            {"recording_id": f"r-{name}", "recording_urls": {"mp3": f"https://r.example/{name}.mp3"}},
        ),
        ("call.hangup", {"hangup_cause": "normal_clearing", "hangup_source": "caller"}),
    ]
    return [
        event_body(kind, f"{name}-{number}", {**ids, **payload}, at=tick)
        for number, ((kind, payload), tick) in enumerate(zip(kinds, ticks, strict=False))
    ]


def live_mix(calls: int, prefix: str, *, under_way: int, seed: int) -> Iterator[bytes]:
    """Give the bodies of many calls, `under_way` of them at a time, each call's events in order."""
    rng = random.Random(seed)  # noqa: S311 - a mix, no secret
    names = iter(range(calls))
    active = [iter(call_bodies(f"{prefix}-{number}", rng)) for number in itertools.islice(names, under_way)]
    while active:
        place = rng.randrange(len(active))
        body = next(active[place], None)
        if body is not None:
            yield body
            continue
        following = next(names, None)
        if following is None:
            active.pop(place)
        else:
            active[place] = iter(call_bodies(f"{prefix}-{following}", rng))
