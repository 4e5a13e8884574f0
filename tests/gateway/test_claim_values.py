"""What a tenant may claim: what Telnyx sends, and nothing that can never match."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from voice_common.cli import main
from voice_common.store.tenants import Claim, ClaimKind
from voice_gateway.commands.claims import NoClaimError, read_claim


@pytest.mark.parametrize(
    ("written", "region", "value"),
    [
        ("+13125550100", None, "+13125550100"),
        (" +1 (312) 555-0100 ", None, "+13125550100"),
        ("tel:+1.312.555.0100", None, "+13125550100"),
        ("+390612345678", None, "+390612345678"),
        ("(312) 555-0100", "US", "+13125550100"),
        ("030 1234567", "de", "+49301234567"),
        ("SIPS:Desk@SIP.Example.com:5061;transport=tls", None, "sip:Desk@sip.example.com"),
        ("desk@example.com", "US", "sip:desk@example.com"),
        ("sip:3125550100@example.com", "US", "sip:3125550100@example.com"),
    ],
)
def test_a_number_is_claimed_in_the_form_in_which_telnyx_sends_it(written: str, region: str | None, value: str) -> None:
    claim = read_claim(ClaimKind.NUMBER, written, region)
    assert claim == Claim(ClaimKind.NUMBER, value)
    assert claim == Claim.of(ClaimKind.NUMBER, value), "an event that carries it meets the claim"


@pytest.mark.parametrize(
    ("written", "region", "said"),
    [
        ("(312) 555-0100", None, "write +13125550100 (US)"),
        ("(312) 555-0100", None, "--region US"),
        ("0049 30 1234567", None, "write +49301234567"),
        ("011 49 30 1234567", None, "write +49301234567"),
        ("+44 (0)20 7946 0000", None, "write +442079460000"),
        ("555-0100", "US", "is no number of US"),
        ("(312) 555-0100", "ZZ", "is no region"),
        ("123", None, "write +, the country's code and the number"),
        ("+1 123", None, "can't be a number"),
        ("gencred3125550100", None, "is no number"),
        ("gencred3125550100", "US", "is no number"),
        ("sip:gencred", None, "is no SIP URI"),
        ("sip:desk@examplecom", None, "is no SIP URI"),
        ("anonymous", "US", "nobody's"),
        ("Restricted", None, "nobody's"),
        ("unknown", None, "nobody's"),
        ("unavailable", None, "nobody's"),
        ("private", None, "nobody's"),
        ("+266696687", None, "nobody's"),
        ("sip:anonymous@anonymous.invalid", None, "nobody's"),
        ("", None, "at least one character"),
    ],
)
def test_a_number_that_telnyx_never_sends_is_refused_with_the_one_that_it_would(
    written: str, region: str | None, said: str
) -> None:
    with pytest.raises(NoClaimError) as refused:
        read_claim(ClaimKind.NUMBER, written, region)
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("option", "written", "said"),
    [
        ("--connection-id", "abc def", "digits alone, as in 1494404757140276705"),
        ("--connection-id", "assistant-1", "digits alone"),
        ("--connection-id", "", "digits alone"),
        ("--assistant-id", "1494404757140276705", "as in assistant-d9082b56"),
        ("--assistant-id", "assistant-", "as in assistant-d9082b56"),
        ("--number", "030 1234567", "+49301234567 (DE)"),
    ],
)
def test_an_id_of_the_wrong_form_is_refused_with_the_right_one_shown(
    option: str, written: str, said: str, tmp_path: Path
) -> None:
    words = ["tenant", "create", "acme", option, written, "--data-dir", str(tmp_path)]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 2
    assert said in result.stderr


def test_a_region_counts_wherever_it_stands_among_the_options() -> None:
    for words in (["--region", "XX", "--number", "5"], ["--number", "5", "--region", "XX"]):
        result = CliRunner().invoke(main, ["tenant", "update", "acme", *words])
        assert (result.exit_code, "'XX' is no region" in result.stderr) == (2, True)
