"""What each event type adds to a call, through the facts that come of it."""

from __future__ import annotations

from typing import Any

import pytest
from webhooks_factories import T0, body_of, event

from voice_common.store.envelope import read_envelope
from voice_common.store.facts import Facts, Phase, facts_of, messages_of, recording_of, tool_calls_of
from voice_common.store.state import CallState
from voice_common.times import render_ms
from voice_webhooks.contribution import contribution_of
from voice_webhooks.contribution.sentiment import SCORED_IN_AN_EVENT, score_of
from voice_webhooks.projection.language import is_english


def state_of(*events: dict[str, Any]) -> CallState:
    state = CallState()
    for document in events:
        contribution = contribution_of(read_envelope(body_of(document), received_at=T0), "key")
        if contribution is not None:
            state = state.join(contribution)
    return state


def facts(*events: dict[str, Any]) -> Facts:
    return facts_of(state_of(*events), is_english)


def said(*events: dict[str, Any]) -> list[tuple[str, str]]:
    return [(message.role, message.content) for message in messages_of(state_of(*events))]


def test_a_call_begins_at_the_earliest_start_that_an_event_speaks_of() -> None:
    late = event("call.answered", T0 + 5000, start_time=render_ms(T0 - 2000))
    assert facts(event("call.initiated", T0), late).started_at == T0 - 2000
    assert facts(late).answered_at == T0 + 5000, "an answer's start_time is the call's start"


def test_a_call_ends_when_every_leg_that_was_opened_has_hung_up() -> None:
    first, second = {"call_leg_id": "l1"}, {"call_leg_id": "l2"}
    opened = [event("call.initiated", T0, **first), event("call.initiated", T0 + 1, **second)]
    one = event("call.hangup", T0 + 10, end_time=render_ms(T0 + 9), hangup_cause="normal_clearing", **first)
    other = event("call.hangup", T0 + 20, hangup_cause="timeout", **second)
    assert facts(*opened, one).ended_at is None
    assert facts(*opened, one, other).ended_at == T0 + 20
    assert facts(*opened, one, other).hangup_cause == "timeout"
    assert facts(opened[0], one).ended_at == T0 + 9


def test_leg_id_and_control_id_of_one_leg_are_one_leg() -> None:
    both = {"call_leg_id": "l1", "call_control_id": "c1"}
    assert (
        facts(event("call.initiated", T0, **both), event("call.hangup", T0 + 5, call_control_id="c1")).ended_at
        == T0 + 5
    )


@pytest.mark.parametrize(
    "evidence",
    [
        event("ai.assistant.transcript", T0 + 3, role="user", text="hello", is_final=True),
        event("call.transcription", T0 + 3, transcription_data={"transcript": "hello", "is_final": True}),
        event("ai.assistant.tool_call", T0 + 3, tool_call_id="t", status="started"),
        event("ai.assistant.response", T0 + 3, text="hello"),
        event("ai.assistant.ended", T0 + 3),
        event("call.conversation.ended", T0 + 3),
    ],
)
def test_without_an_answer_what_was_said_shows_that_the_call_was_answered(evidence: dict[str, Any]) -> None:
    around = [event("call.initiated", T0), event("call.hangup", T0 + 10)]
    assert facts(*around).phase == "failed"
    assert facts(*around, evidence).answered_at == T0 + 3
    assert facts(*around, evidence).duration_ms == 7
    assert facts(*around, evidence, event("call.answered", T0 + 5)).answered_at == T0 + 5


def test_a_partial_transcript_contributes_nothing() -> None:
    partial = event("ai.assistant.transcript", T0 - 9, role="user", text="hel", is_final=False)
    assert state_of(partial) == CallState()
    track = event("call.transcription", T0 - 9, transcription_data={"transcript": "hel", "is_final": "false"})
    assert state_of(track) == CallState()


@pytest.mark.parametrize(
    ("label", "sentiment"),
    [
        ("positive", "positive"),
        (" Negative ", "negative"),
        ({"label": "neutral", "score": 0.9}, "neutral"),
        ({"score": -0.5}, "negative"),
        (0.5, "positive"),
        ("0.01", "neutral"),
        (7, None),
        (True, None),
        ("great", None),
        ({"label": {"label": "positive"}}, None),
    ],
)
def test_a_providers_sentiment_is_a_label_or_a_score(label: Any, sentiment: str | None) -> None:
    assert facts(event("ai.assistant.ended", sentiment=label)).sentiment == sentiment


def test_the_latest_provider_sentiment_wins_over_the_words_that_were_said() -> None:
    words = event("ai.assistant.transcript", T0, role="user", text="I hate this, it is horrible", is_final=True)
    assert facts(words).sentiment == "negative"
    labels = [event("ai.assistant.ended", T0 + at, sentiment=label) for at, label in ((2, "positive"), (1, "neutral"))]
    assert facts(words, *labels).sentiment == "positive"


def test_only_the_callers_words_are_scored() -> None:
    wonderful = event("ai.assistant.transcript", T0, role="assistant", text="Wonderful, I love it!", is_final=True)
    assert facts(wonderful).sentiment is None


def test_an_emoji_is_scored_as_the_words_that_are_read_in_its_place() -> None:
    assert score_of("\U0001f600" * 1000) == score_of("\U0001f600" * 200) == score_of("\U0001f600" * 100)
    assert score_of("\U0001f600 I like it") > score_of("I like it") > 0


def test_of_one_event_only_so_many_characters_of_the_caller_are_scored() -> None:
    count = SCORED_IN_AN_EVENT // 1000 + 3
    messages = [{"role": "user", "content": f"{number} " + "I hate it " * 100} for number in range(count)]
    messages.insert(0, {"role": "assistant", "content": "I love it " * 10_000})
    state = state_of(event("call.conversation.ended", messages=messages))
    (lines,) = state.lines.values()
    scores = [line.score for line in lines.lines]
    assert scores[0] is None
    assert [score is None for score in scores[1:]] == [number >= SCORED_IN_AN_EVENT // 1000 for number in range(count)]
    assert facts_of(state, is_english).message_count == count + 1
    assert facts_of(state, is_english).sentiment == "negative"


def test_insights_can_tell_the_sentiment() -> None:
    for result in ("positive", {"sentiment": "positive"}, '{"sentiment": {"label": "positive"}}'):
        insight = event("call.conversation_insights.generated", results=[{"result": "a summary"}, {"result": result}])
        assert facts(insight).sentiment == "positive"


def test_an_outcome_wins_over_a_start_and_the_later_outcome_over_the_earlier() -> None:
    def call(at: int, status: Any, **more: Any) -> dict[str, Any]:
        return event("ai.assistant.tool_call", T0 + at, tool_call_id="t1", name="book", status=status, **more)

    failed, succeeded, started = call(2, "timeout", error="slow"), call(3, "ok"), call(9, "started")
    counted = facts(started, succeeded, failed)
    assert (counted.tools_succeeded, counted.tools_known) == (1, 1)
    assert facts(started).tools_known == 0
    by_flag = facts(event("ai.assistant.tool_call", tool_call_id="t2", success=False))
    assert (by_flag.tools_succeeded, by_flag.tools_known) == (0, 1)
    ((key, tool),) = tool_calls_of(state_of(started, failed))
    assert (key, tool.name.value if tool.name else None) == ("t1", "book")


def test_tool_calls_in_a_conversations_messages_count_as_made() -> None:
    messages = [
        {"role": "assistant", "content": "", "tool_calls": [{"id": "t1", "function": {"name": "f", "arguments": "{}"}}]}
    ]
    ended = event("call.conversation.ended", messages=messages)
    assert [key for key, _ in tool_calls_of(state_of(ended))] == ["t1"]
    assert facts(ended).tools_known == 0


def test_each_role_is_told_by_the_source_with_most_lines_of_it() -> None:
    transcripts = [
        event("ai.assistant.transcript", T0 + at, role=role, text=text, is_final=True)
        for at, role, text in ((1, "user", "u1"), (2, "assistant", "a1"), (3, "user", "u2"))
    ]
    responses = [event("ai.assistant.response", T0 + at, text=text) for at, text in ((2, "r1"), (4, "r2"))]
    assert said(*transcripts, *responses) == [("user", "u1"), ("assistant", "r1"), ("user", "u2"), ("assistant", "r2")]
    assert said(*transcripts, responses[0]) == [("user", "u1"), ("assistant", "a1"), ("user", "u2")]


def test_a_transcription_of_the_outbound_track_is_the_assistants() -> None:
    def track(at: int, name: str | None) -> dict[str, Any]:
        data = {"transcript": f"on {name}", "is_final": True, "transcription_track": name}
        return event("call.transcription", T0 + at, transcription_data=data)

    assert said(track(1, "inbound"), track(2, "outbound")) == [("user", "on inbound"), ("assistant", "on outbound")]
    assert said(track(1, None)) == [("user", "on None")]


def test_of_gather_histories_the_longest_is_the_transcript() -> None:
    history = [{"role": "assistant", "content": "How old?"}, {"role": "user", "content": "29"}]
    shorter = event("call.ai_gather.message_history_updated", T0 + 9, message_history=history[:1])
    longer = event("call.ai_gather.ended", T0 + 5, message_history=history)
    assert said(longer, shorter) == [("assistant", "How old?"), ("user", "29")]


def test_a_conversations_history_has_its_own_times() -> None:
    messages = [{"role": "user", "content": "Hi", "timestamp": render_ms(T0 - 5000)}, {"role": "tool", "content": "x"}]
    (message,) = messages_of(state_of(event("call.conversation.ended", T0, messages=messages)))
    assert (message.role, message.created_at) == ("user", T0 - 5000)


def test_a_recording_has_its_public_urls_else_its_presigned_ones_mp3_first() -> None:
    presigned = {"wav": "https://p/w", "mp3": "https://p/m"}
    saved: dict[str, Any] = {"recording_id": "r1", "recording_urls": presigned, "recording_ended_at": render_ms(T0)}
    recording = recording_of(state_of(event("call.recording.saved", **saved)))
    assert recording is not None
    assert recording.urls == ("https://p/m", "https://p/w")
    public = recording_of(
        state_of(event("call.recording.saved", public_recording_urls={"wav": "https://o/w"}, **saved))
    )
    assert public is not None
    assert public.urls == ("https://o/w",)


ODD_URLS: tuple[object, ...] = (
    7, True, "", " ", "no url", "s3://bucket/r.mp3", "gs://bucket/r.mp3", "azure://account/r.mp3",
    "ftp://r.example/1.mp3", "javascript:alert(1)//.mp3", "https://", "https:///r.mp3", "https:r.mp3",
    "//r.example/1.mp3", "https://r.example/a b", "https://r.example/a\nb", "https://[::1/r.mp3",
    ["https://r.example/1.mp3"], {}, None,
)  # fmt: skip


@pytest.mark.parametrize("url", ODD_URLS, ids=repr)
def test_only_urls_that_a_client_can_follow_are_listed(url: object) -> None:
    good = {"wav": "HTTPS://r.example:8443/1.wav?X=1#a"}
    found = recording_of(state_of(event("call.recording.saved", recording_urls={"mp3": url, **good})))
    assert found is not None
    assert found.urls == ("HTTPS://r.example:8443/1.wav?X=1#a",)
    public = {"mp3": url}
    instead = recording_of(state_of(event("call.recording.saved", public_recording_urls=public, recording_urls=good)))
    assert instead is not None
    assert instead.urls == found.urls


@pytest.mark.parametrize("url", ["s3://bucket/r.mp3", "gs://bucket/r.mp3", 7])
def test_a_recording_that_nobody_can_fetch_is_not_available(url: object) -> None:
    for kind, urls in (("call.recording.saved", {"recording_urls": {"mp3": url}}),
                       ("calls.voicemail.completed", {"recording_url": url})):  # fmt: skip
        assert not facts(event(kind, T0, **urls)).recording_available


def test_a_recording_without_urls_is_not_available() -> None:
    empty = event("call.recording.saved", recording_urls={}, public_recording_urls=None)
    assert not facts(empty).recording_available
    assert not facts(event("call.recording.error", reason="Internal server error")).recording_available


@pytest.mark.parametrize(
    "kind", ["call.cost", "call.bridged", "call.machine.detection.ended", "call.conversation.created", "x.y"]
)
def test_every_other_type_contributes_its_time_and_ids(kind: str) -> None:
    state = state_of(event(kind, T0, call_leg_id="l1", conversation_id="v1"))
    assert (state.started_at, state.newest_at, state.ids) == (T0, T0, frozenset({"leg:l1", "conversation:v1"}))


def test_an_answer_that_is_stamped_after_the_hangup_gives_no_negative_duration() -> None:
    found = facts(event("call.initiated", T0), event("call.hangup", T0 + 1000), event("call.answered", T0 + 2000))
    assert (found.answered_at, found.ended_at, found.duration_ms) == (T0 + 2000, T0 + 2000, 0)


def test_a_sessions_end_just_after_the_hangup_gives_no_negative_duration() -> None:
    found = facts(event("call.initiated", T0), event("call.hangup", T0 + 1000), event("ai.assistant.ended", T0 + 1500))
    assert (found.ended_at, found.duration_ms) == (T0 + 1500, 0)


def test_a_tool_call_never_took_less_than_no_time() -> None:
    told = event("ai.assistant.tool_call", T0, tool_call_id="t", status="succeeded", duration_ms=-10)
    [(_, tool)] = tool_calls_of(state_of(told))
    assert tool.outcome is not None
    assert tool.outcome.value.duration_ms == 0


@pytest.mark.parametrize("backwards", [False, True])
def test_the_earliest_of_legs_with_one_start_time_is_the_one_whose_own_events_came_first(*, backwards: bool) -> None:
    start = render_ms(T0)
    inbound = event("call.initiated", T0 + 10, call_leg_id="z", start_time=start, direction="incoming")
    transfer = event("call.initiated", T0 + 900, call_leg_id="a", start_time=start, direction="outgoing")
    for first, second in (("00", "ff"), ("ff", "00")):
        inbound["data"]["id"], transfer["data"]["id"] = first, second
        came = [transfer, inbound] if backwards else [inbound, transfer]
        assert facts(*came).direction == "inbound"


@pytest.mark.parametrize("kind", ["ai.assistant.ended", "call.conversation.ended"])
def test_a_conversation_without_a_phone_leg_ends_with_its_latest_session(kind: str) -> None:
    spoken = event("ai.assistant.transcript", T0, role="user", text="Hello")
    found = facts(spoken, event(kind, T0 + 4000), event(kind, T0 + 9000))
    assert (found.phase, found.ended_at, found.duration_ms) == (Phase.COMPLETED, T0 + 9000, 9000)


@pytest.mark.parametrize("kind", ["call.initiated", "call.answered", "call.hangup"])
@pytest.mark.parametrize("backwards", [False, True])
def test_a_leg_takes_the_calls_end_from_the_session_whenever_it_comes(kind: str, *, backwards: bool) -> None:
    came = [event("ai.assistant.ended", T0 + 4000), event(kind, T0 + 5000)]
    found = facts(*(reversed(came) if backwards else came))
    assert found.ended_at == (T0 + 5000 if kind == "call.hangup" else None)


def test_a_lost_hangup_of_a_leg_that_only_rang_leaves_a_finished_call_completed() -> None:
    answered, rang = {"call_leg_id": "l1"}, {"call_leg_id": "l2"}
    opened = [event("call.initiated", T0, **answered), event("call.answered", T0 + 1000, **answered)]
    found = facts(*opened, event("call.initiated", T0 + 2000, **rang), event("call.hangup", T0 + 9000, **answered))
    assert (found.phase, found.duration_ms) == (Phase.COMPLETED, 8000)


def test_a_call_goes_on_while_one_answered_leg_has_no_hangup() -> None:
    one, other = {"call_leg_id": "l1"}, {"call_leg_id": "l2"}
    answered = [event("call.answered", T0, **one), event("call.answered", T0 + 1000, **other)]
    assert facts(*answered, event("call.hangup", T0 + 9000, **one)).ended_at is None


def test_a_hangup_alone_is_a_failed_call() -> None:
    found = facts(event("call.hangup", T0, end_time=render_ms(T0 - 1000)))
    assert (found.phase, found.ended_at, found.duration_ms) == (Phase.FAILED, T0 - 1000, None)


def test_a_second_initiated_of_an_answered_leg_changes_no_end() -> None:
    came = [event("call.initiated", T0), event("call.answered", T0 + 1), event("call.hangup", T0 + 9)]
    again = event("call.initiated", T0 + 5)
    assert facts(*came, again).ended_at == facts(again, *came).ended_at == T0 + 9


def test_a_caller_that_is_a_sip_uri_with_parameters_is_shown_as_sent() -> None:
    uri = "sip:bob@example.com:5060;transport=tcp;user=phone"
    assert facts(event("call.initiated", T0, **{"from": uri})).caller == uri


def test_a_small_t_and_z_and_second_60_are_read_as_times() -> None:
    ended = event("call.hangup", T0, end_time="2025-01-15t10:00:60z")
    assert facts(ended).ended_at == facts(event("call.hangup", T0, end_time="2025-01-15T10:00:59.999Z")).ended_at
    assert facts(ended).ended_at != T0


def test_a_body_with_created_at_and_no_occurred_at_occurred_then() -> None:
    told = event("call.answered", T0 + 5)
    told["data"]["created_at"] = told["data"].pop("occurred_at")
    assert facts(told).answered_at == T0 + 5


@pytest.mark.parametrize("client_state", ["aGF2ZSBhIG5pY2UgZGF5ID1d", "g3QAAAAC", "not base64", None, 7, {"a": 1}])
def test_a_client_state_that_is_no_json_changes_nothing(client_state: object) -> None:
    assert facts(event("call.answered", client_state=client_state)) == facts(event("call.answered"))


def test_of_two_recordings_with_the_same_end_the_one_with_the_later_id_counts() -> None:
    def saved(recording: str) -> dict[str, Any]:
        urls = {"mp3": f"https://x.example/{recording}.mp3"}
        return event(
            "call.recording.saved", recording_id=recording, recording_ended_at=render_ms(T0), recording_urls=urls
        )

    for order in ([saved("r1"), saved("r2")], [saved("r2"), saved("r1")]):
        recording = recording_of(state_of(*order))
        assert recording is not None
        assert recording.id == "r2"
