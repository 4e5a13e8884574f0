"""The scenes that calls are made of: ringing, answering, talking, using tools, being recorded, hanging up."""

from __future__ import annotations

import json
from typing import Any

from voice_local.simulation import phrases
from voice_local.simulation.story import Leg, Story
from voice_local.storage import recording_url

_MOODS = ("positive", "positive", "positive", "neutral", "neutral", "negative")
_SUCCEEDED: tuple[dict[str, object], ...] = (
    {"status": "succeeded"}, {"status": "success"}, {"status": "completed"}, {"status": "ok"}, {"success": True},
)  # fmt: skip
_FAILED: tuple[dict[str, object], ...] = (
    {"status": "failed"}, {"status": "error"}, {"status": "timeout"}, {"success": False},
)  # fmt: skip
_TOOL_FATES = ((True,),) * 8 + ((False,), (False, True), ())
_SCORES = {"positive": 0.62, "neutral": 0.0, "negative": -0.55}


def ring(story: Story, *, incoming: bool) -> Leg:
    """Begin the call."""
    ours, theirs = story.rng.choice(story.parties.numbers), story.parties.customer(story.rng)
    leg = story.leg(theirs, ours) if incoming else story.leg(ours, theirs)
    story.tell(
        "call.initiated",
        leg,
        **leg.parties,
        direction="incoming" if incoming else "outgoing",
        state="parked" if incoming else "bridging",
        start_time=story.rng.choice((..., leg.start_text)),
    )
    story.wait(1, 9)
    return leg


def answer(story: Story, leg: Leg) -> None:
    """Answer; the event's ``start_time`` is the leg's start."""
    if story.answered_at is None:
        story.answered_at = story.now
    story.tell("call.answered", leg, **leg.parties, start_time=leg.start_text, state="answered")
    story.wait(0.2, 1.5)


def hang_up(story: Story, leg: Leg, cause: str = "normal_clearing", source: str = "caller") -> None:
    """End a leg. The event comes a little after the end; some do not name the end."""
    end = story.now
    named = story.chance(0.9)
    story.wait(0.02, 0.3)
    story.ended_at = end if named else story.now
    story.tell(
        "call.hangup",
        leg,
        **leg.parties,
        hangup_cause=cause,
        hangup_source=source,
        sip_hangup_cause="200" if cause == "normal_clearing" else "486",
        start_time=leg.start_text,
        end_time=story.text_of(end) if named else ...,
        call_quality_stats=story.rng.choice((None, {"inbound": {"mos": "4.50", "packet_count": "591"}})),
        state="hangup",
    )
    story.wait(0.1, 0.8)


def talk(story: Story, leg: Leg, *, turns: int) -> None:
    """Talk with the assistant, told in the project's own events."""
    lines = _callers_lines(story, turns)
    _assistant_says(story, leg, phrases.GREETING)
    for line in lines:
        if story.chance(0.5):
            _transcript(story, leg, "user", line[: len(line) // 2], is_final=False)
        label = _label(story) if story.chance(0.15) else None
        _transcript(story, leg, "user", line, is_final=True, **({} if label is None else {"sentiment": label}))
        if story.chance(0.45):
            use_tool(story, leg)
        _assistant_says(story, leg, story.rng.choice(phrases.ANSWERS))
    if story.chance(0.85):
        label = _label(story) if story.chance(0.6) else None
        forms: tuple[object, ...] = (label, {"label": label, "score": 0.9}, _SCORES[label]) if label else (...,)
        story.tell_ai(
            "ai.assistant.ended",
            leg,
            reason="customer_disconnect",
            duration_sec=story.rng.choice((42, "42")),
            sentiment=story.rng.choice(forms),
        )
        story.wait(0.1, 0.5)


def talk_officially(story: Story, leg: Leg, *, turns: int) -> None:
    """Talk with the assistant, told in Telnyx's own events; a history tells how tool calls ended, if anything does."""
    lines = _callers_lines(story, turns)
    said: list[dict[str, Any]] = []
    answers: dict[str, bool] = {}
    story.tell_ai("call.conversation.created", leg, calling_party_type="pstn")
    story.wait(0.1, 0.4)
    for line in lines:
        if story.chance(0.4):
            _transcription(story, leg, "inbound", line[:9], is_final=False)
        said.append({"role": "user", "content": line, "timestamp": story.text_of(story.now)})
        _transcription(story, leg, "inbound", line, is_final=True)
        reply = story.rng.choice(phrases.ANSWERS)
        said.append({"role": "assistant", "content": reply, "timestamp": story.text_of(story.now)})
        if story.chance(0.3):
            name, arguments = story.rng.choice(list(phrases.TOOLS.items()))
            function = {"name": name, "arguments": json.dumps(arguments)}
            tool = story.made_up(f"call/{len(said)}")
            said[-1]["tool_calls"] = [{"id": tool, "type": "function", "function": function}]
            for succeeded in story.rng.choice(_TOOL_FATES):
                answers[tool] = succeeded
                said.append({"role": "tool", "tool_call_id": tool, "content": _answer(story, succeeded=succeeded)})
        _transcription(story, leg, "outbound", reply, is_final=True)
    whole = story.chance(0.7)
    if whole:
        story.tools |= answers
    story.tell_ai(
        "call.conversation.ended",
        leg,
        **leg.parties,
        calling_party_type="pstn",
        duration_sec=(story.now - leg.start) // 1000,
        reason="customer_disconnect",
        llm_model="openai/gpt-4o",
        messages=said if whole else ...,
    )
    story.wait(0.1, 0.5)


def _answer(story: Story, *, succeeded: bool) -> str | list[dict[str, str]]:
    """Give what a tool answered, as text or in parts."""
    failures = ({"error": "no such table"}, {"success": False}, {"status": "timeout"})
    text = json.dumps({"booked": True} if succeeded else story.rng.choice(failures))
    return [{"type": "text", "text": text}] if story.chance(0.3) else text


def gather(story: Story, leg: Leg) -> None:
    """Ask for details; each event brings the whole history so far."""
    history: list[dict[str, str]] = []
    for line in _callers_lines(story, 3):
        history.append({"role": "assistant", "content": story.rng.choice(phrases.ANSWERS)})
        history.append({"role": "user", "content": line})
        story.wait(2, 9)
        story.tell("call.ai_gather.message_history_updated", leg, **leg.parties, message_history=list(history))
    story.wait(0.2, 1)
    story.tell("call.ai_gather.ended", leg, **leg.parties, message_history=history, result={"age": 29}, status="valid")
    story.wait(0.2, 1)


def use_tool(story: Story, leg: Leg) -> None:
    """Have the assistant call a tool; most succeed, some fail, of a few the end is never told."""
    tool = story.made_up(f"tool/{len(story.told)}")
    name, arguments = story.rng.choice(list(phrases.TOOLS.items()))
    story.tell_ai("ai.assistant.tool_call", leg, tool_call_id=tool, name=name, arguments=arguments, status="started")
    story.wait(0.2, 2)
    for succeeded in story.rng.choice(_TOOL_FATES):
        _tool_ended(story, leg, tool, name, succeeded=succeeded)


def record(story: Story, leg: Leg, begun: int) -> None:
    """Tell that a recording was saved: with lasting URLs, presigned ones, none at all, or that it failed."""
    story.wait(0.3, 3)
    if story.chance(0.06):
        story.tell("call.recording.error", leg, reason="Internal server error", call_control_id=...)
        return
    name = story.made_up(f"recording/{len(story.told)}")
    ended = story.ended_at or story.now
    lasting, presigned = _files(story, name, seconds=round((ended - begun) / 1000))
    public, private = story.rng.choice(((lasting, presigned), ({}, presigned)))
    if story.chance(0.07):
        public, private = {}, {"mp3": None, "wav": ""}
    story.recorded = story.recorded or any(public.values()) or any(private.values())
    story.tell(
        "call.recording.saved",
        leg,
        call_control_id=...,
        channels=story.rng.choice(("single", "dual")),
        recording_id=name if story.chance(0.8) else ...,
        recording_started_at=story.text_of(begun),
        recording_ended_at=story.text_of(ended),
        public_recording_urls=public,
        recording_urls=private,
    )


def _files(story: Story, name: str, *, seconds: int) -> tuple[dict[str, str | None], dict[str, str | None]]:
    """Give a recording's lasting and its presigned URLs: of the stack's own storage, or of hosts that nobody has."""
    if story.storage is not None:
        heard: dict[str, str | None] = {"mp3": None, "wav": recording_url(story.storage, name, seconds)}
        return heard, heard
    return (
        {kind: f"https://recordings.example.com/{name}.{kind}" for kind in ("mp3", "wav")},
        {"mp3": f"https://presigned.example.com/{name}.mp3?X-Amz-Expires=600", "wav": None},
    )


def settle(story: Story, leg: Leg) -> None:
    """Tell of the cost, and of what the provider concludes from the talk."""
    story.wait(0.5, 4)
    billed = max(1, (story.now - leg.start) // 60_000) * 60
    story.tell("call.cost", leg, billed_duration_secs=billed, total_cost="0.0106", status="success", cost_parts=[])
    if story.sentiment is not None and story.chance(0.5):
        story.wait(1, 5)
        results = [
            {"insight_id": story.made_up("insight/1"), "result": phrases.SUMMARY},
            {"insight_id": story.made_up("insight/2"), "result": {"sentiment": story.sentiment}},
        ]
        story.tell("call.conversation_insights.generated", leg, calling_party_type="pstn", results=results)


def _callers_lines(story: Story, turns: int) -> list[str]:
    """Choose a mood and lines, half of them at least of that mood."""
    if not turns:
        return []
    story.mood = story.rng.choice(_MOODS)
    return [
        story.rng.choice(phrases.BY_MOOD[story.mood] if turn % 2 == 0 else phrases.NEUTRAL) for turn in range(turns)
    ]


def _label(story: Story) -> str:
    """Have the provider name a sentiment, mostly that of the caller's words; it counts more than they do."""
    mood = story.mood or "neutral"
    story.sentiment = mood if story.chance(0.8) else story.rng.choice(_MOODS)
    return story.sentiment


def _assistant_says(story: Story, leg: Leg, text: str) -> None:
    story.tell_ai("ai.assistant.response", leg, text=text, latency_ms=story.rng.randrange(200, 900))
    story.wait(0.05, 0.2)
    _transcript(story, leg, "assistant", text, is_final=True)


def _transcript(story: Story, leg: Leg, role: str, text: str, *, is_final: bool, **more: object) -> None:
    key = story.rng.choice(("text", "text", "transcript", "content"))
    story.tell_ai("ai.assistant.transcript", leg, role=role, is_final=is_final, **{key: text}, **more)
    story.wait(1.5, 12)


def _transcription(story: Story, leg: Leg, track: str, text: str, *, is_final: bool) -> None:
    data = {"transcript": text, "is_final": is_final, "confidence": 0.97, "transcription_track": track}
    story.tell("call.transcription", leg, transcription_data=data)
    story.wait(1.5, 12)


def _tool_ended(story: Story, leg: Leg, tool: str, name: str, *, succeeded: bool) -> None:
    outcome = story.rng.choice(_SUCCEEDED if succeeded else _FAILED)
    error = {} if succeeded else {"error": story.rng.choice(phrases.TOOL_ERRORS)}
    story.tools[tool] = succeeded
    story.tell_ai(
        "ai.assistant.tool_call",
        leg,
        tool_call_id=tool,
        name=name,
        duration_ms=story.rng.randrange(30, 1500),
        **outcome,
        **error,
    )
    story.wait(0.1, 1)
