"""The forms of ids."""

from __future__ import annotations

import pytest

from voice_common.errors import BadRequest
from voice_common.ids import conversation_id, is_conversation_id, is_tenant_id, request_id


@pytest.mark.parametrize("value", ["a", "A0._:-z", "x" * 128, "428c31b6-7af4-4bcb-b7f5-5013ef9657c1", "..", "-"])
def test_a_conversation_id_is_1_to_128_characters_of_a_known_set(value: str) -> None:
    assert conversation_id(value) == value


@pytest.mark.parametrize("value", ["", "x" * 129, "a b", "a/b", "a\n", "é", "{", "$ne", "a\x00", "٣"])
def test_another_form_is_no_conversation_id(value: str) -> None:
    assert not is_conversation_id(value)
    with pytest.raises(BadRequest):
        conversation_id(value)


@pytest.mark.parametrize(
    ("value", "good"),
    [
        ("acme", True), ("a", True), ("0", True), ("a-b.c_d", True), ("x" * 64, True),
        ("", False), ("x" * 65, False), ("Acme", False), ("-a", False), ("a-", False), ("a b", False), ("a\n", False),
    ],
)  # fmt: skip
def test_a_tenant_id_begins_and_ends_with_a_letter_or_digit(value: str, good: bool) -> None:  # noqa: FBT001 - a table
    assert is_tenant_id(value) is good


@pytest.mark.parametrize("value", ["a", "A.b_c-9", "x" * 128])
def test_a_clients_own_request_id_is_kept(value: str) -> None:
    assert request_id(value) == value


@pytest.mark.parametrize("value", [None, "", "x" * 129, "a b", "a:b", "a\n", "é"])
def test_another_request_id_is_replaced_by_a_new_one(value: str | None) -> None:
    first, second = request_id(value), request_id(value)
    assert first != second
    assert request_id(first) == first
