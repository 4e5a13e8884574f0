"""JSON as providers send it: what is legal there and no text is replaced, whatever stands around it."""

from __future__ import annotations

import json

import pytest

from voice_common.store.envelope import UnreadableEventError, read_envelope, read_json


@pytest.mark.parametrize(
    ("sent", "read"),
    [
        (r"\ud800", "?"),
        (r"\uDBFF\ud83d\ude00", "?😀"),
        (r"\ud83d\ude00\ude00", "😀?"),
        (r"\ude00\ud83d", "??"),
        (r"\\ud800", r"\ud800"),
        (r"\\\ud800", "\\?"),
        (r"\\\\ud800\"\ud800", r"\\ud800" + '"?'),
        (r"\ud83d\\ude00", r"?\ude00"),
        (r"\ud83dx\ude00", "?x?"),
        (r"\ud800\u0000\uffff", "?\0\uffff"),
    ],
)
def test_half_a_surrogate_pair_is_a_question_mark_and_all_else_stays(sent: str, read: str) -> None:
    body = f'{{"{sent}": ["{sent}", 1e400]}}'.encode()
    assert read_json(body) == {read: [read, float("inf")]}


@pytest.mark.parametrize("body", [b'"\\ud800\0"', b'"\\ud800', b'"\\ud8"', b'["\\ud800", NaN]', b'"\\ud800\xff"'])
def test_half_a_surrogate_pair_makes_nothing_readable_that_is_not(body: bytes) -> None:
    with pytest.raises(UnreadableEventError):
        read_json(body)


@pytest.mark.parametrize("session", [".", ".."])
def test_a_session_that_no_path_can_name_is_no_session(session: str) -> None:
    body = json.dumps({"id": "e1", "event_type": "call.cost", "payload": {"call_session_id": session}}).encode()
    envelope = read_envelope(body, received_at=0)
    assert (envelope.session, envelope.stream) == (None, "event:e1")
