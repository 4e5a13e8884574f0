"""Who said what, and how tools ended: in every form in which providers tell it."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from webhooks_factories import T0, body_of, event

from voice_common.store.envelope import read_envelope
from voice_common.store.facts import facts_of, messages_of, recording_of, tool_calls_of
from voice_common.store.state import CallState, Outcome
from voice_common.times import render_ms
from voice_webhooks.contribution import contribution_of
from voice_webhooks.projection.language import is_english


def state_of(*events: dict[str, Any]) -> CallState:
    state = CallState()
    for document in events:
        contribution = contribution_of(read_envelope(body_of(document), received_at=T0), "key")
        if contribution is not None:
            state = state.join(contribution)
    return state


def said(*events: dict[str, Any]) -> list[tuple[str, str]]:
    return [(message.role, message.content) for message in messages_of(state_of(*events))]


@pytest.mark.parametrize("kind", ["ai.assistant.transcript", "call.conversation.ended", "call.ai_gather.ended"])
@pytest.mark.parametrize(
    ("word", "role"),
    [
        *((word, "user") for word in ("user", "human", "Caller", "CUSTOMER")),
        *((word, "assistant") for word in ("assistant", "agent", "AI", "Bot")),
        *((word, None) for word in ("system", "tool", "", 7, None)),
    ],
)
def test_a_role_is_read_in_every_word_that_is_used_for_it(kind: str, word: object, role: str | None) -> None:
    message = {"role": word, "text": "Hello", "content": "Hello"}
    history = {"messages": [message], "message_history": [message]}
    payload = message if kind == "ai.assistant.transcript" else history
    assert said(event(kind, **payload)) == ([] if role is None else [(role, "Hello")])


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ([{"type": "text", "text": "Good morning."}], "Good morning."),
        (
            [{"type": "text", "text": "Good"}, {"type": "image_url"}, {"type": "text", "text": "morning."}],
            "Good morning.",
        ),
        (["Good", {"type": "text", "text": "morning."}, None, [7]], "Good morning."),
        ([{"type": "image_url"}], None),
        ([], None),
        ({"text": "no"}, None),
    ],
)
def test_a_content_of_parts_is_the_texts_among_them(content: object, text: str | None) -> None:
    ended = event("call.conversation.ended", messages=[{"role": "user", "content": content}])
    transcript = event("ai.assistant.transcript", role="user", content=content)
    assert said(ended) == said(transcript) == ([] if text is None else [("user", text)])


def test_a_history_in_the_form_of_the_rest_api_is_read_with_the_times_at_which_things_were_said() -> None:
    rest = [
        {"role": "user", "text": "second", "created_at": render_ms(T0 + 1), "sent_at": render_ms(T0 + 2000)},
        {"role": "user", "text": "first", "created_at": render_ms(T0 + 1000)},
    ]
    messages = messages_of(state_of(event("call.conversation.ended", T0 + 9000, messages=rest)))
    assert [(message.content, message.created_at) for message in messages] == [
        ("first", T0 + 1000),
        ("second", T0 + 2000),
    ]


def transcribed(at: int, leg: str, track: str | None, text: str) -> dict[str, Any]:
    data = {"transcript": text, "is_final": True, "transcription_track": track}
    return event("call.transcription", T0 + at, call_leg_id=leg, transcription_data=data)


def transferred() -> list[dict[str, Any]]:
    """Give a call that was connected to an agent, with a transcription on both legs."""
    return [
        event("call.initiated", T0, call_leg_id="caller", start_time=render_ms(T0)),
        event("call.initiated", T0 + 9, call_leg_id="agent", start_time=render_ms(T0)),
        transcribed(20, "caller", "inbound", "I would like a refund, please."),
        transcribed(21, "agent", "outbound", "I would like a refund, please."),
        transcribed(30, "agent", "inbound", "I am sorry, that is awful."),
        transcribed(31, "caller", "outbound", "I am sorry, that is awful."),
    ]


def test_a_transcription_of_both_legs_shows_each_sentence_once_and_as_its_speakers() -> None:
    assert said(*transferred()) == [
        ("user", "I would like a refund, please."),
        ("assistant", "I am sorry, that is awful."),
    ]
    facts = facts_of(state_of(*transferred()), is_english)
    assert facts.message_count == 2
    assert facts.sentiment == "positive", "of the caller's words alone"


def test_the_leg_with_more_lines_counts_and_a_later_legs_tracks_are_the_other_way_round() -> None:
    begun = transferred()[:2]
    late = [transcribed(20 + n, "agent", "outbound", f"line {n}") for n in range(3)]
    early = [transcribed(40, "caller", "inbound", "of the first leg")]
    assert said(*begun, *early, *late) == [("user", f"line {n}") for n in range(3)]


def test_whose_a_track_is_does_not_depend_on_the_order_of_events() -> None:
    found = {tuple(said(*order)) for order in itertools.permutations(transferred())}
    assert len(found) == 1


def test_a_leg_known_by_two_names_is_one_source() -> None:
    both = event("call.initiated", T0, call_leg_id="l", call_control_id="c")
    by_control = transcribed(2, "", "inbound", "second")
    by_control["data"]["payload"] |= {"call_control_id": "c"}
    assert said(both, transcribed(1, "l", "inbound", "first"), by_control) == [("user", "first"), ("user", "second")]


@pytest.mark.parametrize("nobodys", [[], [event("calls.voicemail.completed", T0 - 5, **{"from": "+1", "to": "+2"})]])
def test_a_transcription_that_names_no_leg_is_the_earliest_ones(nobodys: list[dict[str, Any]]) -> None:
    begun = transferred()[:2]
    nameless = [transcribed(40 + n, "", "inbound", f"line {n}") for n in range(2)]
    caller = [transcribed(50, "caller", "inbound", "line 2")]
    for order in itertools.permutations([*nobodys, *begun, *nameless, *caller]):
        assert said(*order) == [("user", f"line {n}") for n in range(3)]


def test_a_leg_that_turns_out_to_be_the_earliest_changes_whose_its_tracks_are() -> None:
    late = transcribed(20, "b", "outbound", "Hello there")
    begun, earlier = event("call.initiated", T0 + 5, call_leg_id="b"), event("call.initiated", T0, call_leg_id="a")
    assert said(begun, late) == [("assistant", "Hello there")]
    assert said(begun, late, earlier) == said(earlier, late, begun) == [("user", "Hello there")]
    assert said(late, earlier, event("call.initiated", T0 - 1, call_leg_id="b")) == [("assistant", "Hello there")]


def test_the_ids_of_messages_are_each_ones_own_whichever_leg_counts() -> None:
    history = [{"role": role, "content": "x", "timestamp": render_ms(T0)} for role in ("user", "assistant", "user")]
    ended = event("call.conversation.ended", T0 + 900, id="h", messages=history)
    several = messages_of(state_of(*transferred(), ended))
    assert [message.id for message in several if message.role == "user"] == ["h:0", "h:2"]
    assert len({message.id for message in several}) == len(several) == 3


def test_messages_stand_in_the_order_of_their_own_times() -> None:
    history = [
        {"role": "user", "content": "second", "timestamp": render_ms(T0 + 2000)},
        {"role": "user", "content": "fourth", "timestamp": render_ms(T0 + 4000)},
    ]
    ended = event("call.conversation.ended", T0 + 9000, messages=history)
    first, third = (
        event("ai.assistant.response", T0 + at, text=text) for at, text in ((1000, "first"), (3000, "third"))
    )
    messages = messages_of(state_of(ended, third, first))
    assert [message.content for message in messages] == ["first", "second", "third", "fourth"]
    assert [message.created_at for message in messages] == sorted(message.created_at for message in messages)


def history(kind: str, *messages: dict[str, Any], at: int = T0 + 900) -> dict[str, Any]:
    if kind == "call.conversation.ended":
        return event(kind, at, messages=list(messages))
    return event(kind, at, message_history=list(messages))


def call(id_: str | None, name: str = "look_up") -> dict[str, Any]:
    function = {"name": name, "arguments": "{}"}
    return {"role": "assistant", "content": None, "tool_calls": [{"id": id_, "type": "function", "function": function}]}


KINDS = [
    "call.conversation.ended",
    "call.ai_gather.ended",
    "call.ai_gather.message_history_updated",
    "call.ai_gather.partial_results",
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("content", "failure"),
    [
        ('{"balance": 7}', None),
        ("It is sunny.", None),
        ("", None),
        ("[1, 2]", None),
        ('{"error": "no such account"}', "no such account"),
        ('{"error": {"code": 7}}', '{"code":7}'),
        ('{"error": true}', "true"),
        ('{"error": false}', None),
        ('{"error": null, "success": true}', None),
        ('{"error": ""}', None),
        ('{"success": false}', ""),
        ('{"success": "false"}', ""),
        ('{"status": "Timeout"}', ""),
        ('{"status": "failed"}', ""),
        ('{"status": "ok"}', None),
        ([{"type": "text", "text": '{"success": false}'}], ""),
    ],
)
def test_the_tool_message_of_a_history_is_its_calls_outcome(kind: str, content: object, failure: str | None) -> None:
    answer = {"role": "tool", "tool_call_id": "t1", "content": content}
    state = state_of(history(kind, call("t1"), answer))
    ((key, tool),) = tool_calls_of(state)
    assert key == "t1"
    assert tool.name is not None
    assert tool.name.value == "look_up"
    assert tool.ended is not None
    assert (tool.ended.succeeded, tool.ended.error) == (failure is None, failure or None)
    facts = facts_of(state, is_english)
    assert (facts.tools_known, facts.tools_succeeded) == (1, int(failure is None))


def test_a_gathers_history_that_is_told_again_and_again_has_each_call_once() -> None:
    told = [history("call.ai_gather.message_history_updated", call(None), call("t2"), at=T0 + n) for n in range(3)]
    assert len(tool_calls_of(state_of(*told))) == 2


def test_of_an_event_and_a_history_the_later_outcome_of_a_tool_call_counts() -> None:
    failed = event("ai.assistant.tool_call", T0 + 500, tool_call_id="t1", name="look_up", status="failed")
    for at, succeeded in ((T0 + 400, False), (T0 + 600, True)):
        answer = {"role": "tool", "tool_call_id": "t1", "content": "fine", "timestamp": render_ms(at)}
        ((_, tool),) = tool_calls_of(state_of(history("call.conversation.ended", call("t1"), answer), failed))
        assert tool.ended is not None
        assert tool.ended.succeeded is succeeded


@pytest.mark.parametrize(
    ("content", "error"),
    [('{"status": "failed"}', "no route"), ('{"error": "no such account"}', "no such account"), ("fine", None)],
)
def test_what_a_tool_call_said_of_itself_outlives_the_answer_in_a_history(content: str, error: str | None) -> None:
    own = event(
        "ai.assistant.tool_call", T0, tool_call_id="t", status="failed", error="no route", duration_ms=412, name="f"
    )
    answer = history("call.conversation.ended", {"role": "tool", "tool_call_id": "t", "content": content})
    for order in ([own, answer], [answer, own]):
        ((_, tool),) = tool_calls_of(state_of(*order))
        assert tool.ended == Outcome(error is None, error, 412)


@pytest.mark.parametrize("last", [True, False])
def test_of_two_answers_in_a_history_without_times_the_later_one_counts(*, last: bool) -> None:
    answers = [
        {"role": "tool", "tool_call_id": "t", "content": json.dumps({"success": good})} for good in (not last, last)
    ]
    ((_, tool),) = tool_calls_of(state_of(history("call.conversation.ended", call("t"), *answers)))
    assert tool.ended is not None
    assert tool.ended.succeeded is last


@pytest.mark.parametrize("kind", KINDS)
def test_the_tool_calls_of_a_history_without_times_stand_in_its_order(kind: str) -> None:
    ids = [f"{(number * 7) % 12}" for number in range(12)]
    answers = [{"role": "tool", "tool_call_id": id_, "content": "fine"} for id_ in reversed(ids)]
    state = state_of(history(kind, *[call(id_) for id_ in ids], *answers))
    assert [key for key, _ in tool_calls_of(CallState.from_document(state.to_document()))] == ids


def test_a_tool_call_in_a_gathers_history_shows_that_the_call_was_answered() -> None:
    assert facts_of(state_of(history("call.ai_gather.ended", call("t"), at=T0 + 7)), is_english).answered_at == T0 + 7


def test_the_history_beside_a_gathers_partial_results_is_read() -> None:
    lines = [{"role": "assistant", "content": "Where do you live?"}, {"role": "user", "content": "In Paris."}]
    assert said(event("call.ai_gather.partial_results", message_history=lines, partial_results={"city": "Paris"})) == [
        ("assistant", "Where do you live?"),
        ("user", "In Paris."),
    ]


def test_a_voicemail_tells_of_a_recording_by_its_events_id() -> None:
    left = event("calls.voicemail.completed", id="v1", call_session_id="s", recording_url="https://x.example/v.mp3")
    recording = recording_of(state_of(left))
    assert recording is not None
    assert (recording.id, recording.urls) == ("v1", ("https://x.example/v.mp3",))
    assert recording_of(state_of(event("calls.voicemail.completed", recording_url=None))) is None


def test_the_text_of_a_recording_is_kept_with_it_and_is_nobodys_line() -> None:
    texts = {"recording_id": "r1", "status": "completed"}
    first = event("call.recording.transcription.saved", T0, id="e1", transcription_text="Hi!", **texts)
    later = event("call.recording.transcription.saved", T0 + 1, id="e2", transcription_text="Hi there!", **texts)
    for order in ([first, later], [later, first]):
        state = state_of(*order)
        assert {key: text.value for key, text in state.recording_texts.items()} == {"r1": "Hi there!"}
        assert messages_of(state) == []
        assert CallState.from_document(state.to_document()) == state


def test_a_state_of_older_code_is_read_with_nothing_said_of_what_that_did_not_know() -> None:
    state = state_of(*transferred())
    document = state.to_document()
    older = {key: value for key, value in document.items() if key not in {"session_ended_at", "recording_texts"}}
    older["legs"] = [leg[:7] for leg in document["legs"]]
    older["lines"] = [said[:4] for said in document["lines"]]
    read = CallState.from_document(older)
    assert CallState.from_document(document) == state
    assert {key: leg.opened for key, leg in read.legs.items()} == {"leg:caller": True, "leg:agent": True}
    assert read.to_document()["lines"] == older["lines"]
    assert facts_of(read, is_english).message_count == 4, "both legs' are one source, as that code had it"


def bad(json_text: str) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": "t", "content": json_text}


@pytest.mark.parametrize("content", [json.dumps("x" * 10), "{" * 500, "\ud800", 7, None])
def test_whatever_a_tool_answers_it_has_answered(content: Any) -> None:
    ((_, tool),) = tool_calls_of(state_of(history("call.conversation.ended", call("t"), bad(content))))
    assert tool.ended is not None
    assert tool.ended.succeeded
