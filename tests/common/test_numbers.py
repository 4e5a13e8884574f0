"""The one form in which a claimed number and the one that an event names meet."""

from __future__ import annotations

import pytest

from voice_common.numbers import looks_like, normal_number


@pytest.mark.parametrize(
    ("written", "normal"),
    [
        ("+13125550100", "+13125550100"),
        ("tel:+1-312-555-0100;phone-context=x", "+13125550100"),
        ("3125550100", "3125550100"),
        ("gencred3125550100", "gencred3125550100"),
        ("sip:Desk.One@SIP.Example.COM:5060;transport=udp", "sip:Desk.One@sip.example.com"),
        ("sips:desk:secret@example.com:5061?subject=x", "sip:desk@example.com"),
        ("sip:desk@example.com:7060", "sip:desk@example.com:7060"),
        ("desk;phone-context=a@example.com", "sip:desk@example.com"),
        ('"Desk" <sip:desk@example.com>', "sip:desk@example.com"),
        ("sip:", None),
        ("", None),
        (" ", None),
        ("tel:", None),
        ("Anonymous", None),
        ("UNKNOWN", None),
        ("Private Number", None),
        ("no-caller-id", None),
        ("sip:anonymous@anonymous.invalid", None),
        ("sip:restricted@10.0.0.1", None),
        ("+266696687", None),
        ("sip:+266696687@example.com", None),
    ],
)
def test_a_number_has_one_normal_form_and_a_withheld_one_has_none(written: str, normal: str | None) -> None:
    assert normal_number(written) == normal


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        ("3125550100", "+13125550100", True),
        ("00493012345678", "+493012345678", True),
        ("+13125550100", "+13125550101", False),
        ("0100", "+13125550100", False),
        ("sip:desk@a.example.com", "sip:Desk@b.example.com", True),
        ("sip:desk@a.example.com", "sip:sales@a.example.com", False),
        ("sip:3125550100@a.example.com", "+13125550100", False),
    ],
)
def test_numbers_that_were_written_in_two_ways_look_alike(one: str, other: str, *, alike: bool) -> None:
    assert looks_like(one, other) is alike
    assert looks_like(other, one) is alike
