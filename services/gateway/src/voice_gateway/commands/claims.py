"""The values that a tenant claims, read as people write them; what can never match is refused with what would."""

from __future__ import annotations

import re
from typing import Any

import click
import phonenumbers

from voice_common.numbers import is_sip, is_withheld, normal_number
from voice_common.store.tenants import Claim, ClaimKind

_NUMBER = re.compile(r"\+?[\d\s().\-/]+")
_ADDRESS = re.compile(r"sip:[^\s@:;<>\"]+@([a-z0-9-]+(\.[a-z0-9-]+)+|\[[0-9a-f:.]+\])(:\d{1,5})?")
_INTERNATIONAL_PREFIX = re.compile(r"^(?:00|011)")
_IDS = {ClaimKind.CONNECTION: re.compile(r"\d{1,20}", re.ASCII), ClaimKind.ASSISTANT: re.compile(r"assistant-[\w.-]+")}
_FORMS = {
    ClaimKind.CONNECTION: "a connection id is digits alone, as in 1494404757140276705 (the id of the Call Control "
    "application)",
    ClaimKind.ASSISTANT: "an assistant's id is as in assistant-d9082b56-ba2d-4ad1-a50c-58661eb1463d",
}
_LIKELY_REGIONS = ("US", "GB", "DE", "FR", "ES", "IT", "NL", "AU", "IN", "BR")
_MOST_SUGGESTED = 3


class NoClaimError(ValueError):
    """A value that no event will ever carry; the text says what is wrong and what is right."""


def read_claim(kind: ClaimKind, text: str, region: str | None = None) -> Claim:
    """Read what a tenant claims; national numbers are those of `region`, where one is given.

    Raises `NoClaimError` for what Telnyx never sends.
    """
    said = text.strip()
    if kind is ClaimKind.NUMBER:
        return Claim(kind, _number(said, region))
    if not _IDS[kind].fullmatch(said):
        raise NoClaimError(f"{said!r} is none: {_FORMS[kind]}")
    return Claim(kind, said)


def _number(said: str, region: str | None) -> str:
    normal = normal_number(said)
    if normal is None:
        if said and (is_withheld(said) or "@" in said or "sip" in said.lower()):
            raise NoClaimError(f"{said!r} is what a withheld number is called, so it is nobody's")
        raise NoClaimError("A number has at least one character")
    if is_sip(normal):
        if not _ADDRESS.fullmatch(normal):
            raise NoClaimError(f"{said!r} is no SIP URI; write sip:user@host, as in sip:desk@example.com")
        return normal
    # Only what looks like a number is given to the library: in other texts it finds numbers where there are none.
    bare = re.sub(r"^tel:", "", said, flags=re.IGNORECASE).partition(";")[0].strip()
    if not _NUMBER.fullmatch(bare):
        raise NoClaimError(f"{said!r} is no number; write +, the country's code and the number, as in +13125550100")
    if bare.startswith("+"):
        return _international(bare, said)
    if region is not None:
        return _of_region(bare, said, region)
    raise NoClaimError(f"{said!r} has no country's code, and Telnyx sends numbers with it; {_suggestion(bare)}")


def _international(bare: str, said: str) -> str:
    parsed = _parsed(bare, None)
    if parsed is None or not phonenumbers.is_possible_number(parsed):
        raise NoClaimError(
            f"{said!r} can't be a number: no country's are so long or short; write it as in +13125550100"
        )
    right = phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164)
    if right != normal_number(bare.replace("/", "")):
        raise NoClaimError(f"{said!r} is not as Telnyx sends it; write {right}")
    return right


def _of_region(bare: str, said: str, region: str) -> str:
    if region.upper() not in phonenumbers.SUPPORTED_REGIONS:
        raise NoClaimError(f"{region!r} is no region; write the two letters of a country, as in --region US")
    parsed = _parsed(bare, region.upper())
    if parsed is None or not phonenumbers.is_valid_number(parsed):
        raise NoClaimError(f"{said!r} is no number of {region.upper()}; {_suggestion(bare)}")
    return phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164)


def _suggestion(bare: str) -> str:
    """Say how a number would be written that has no country's code."""
    abroad = _parsed(_INTERNATIONAL_PREFIX.sub("+", bare), None) if _INTERNATIONAL_PREFIX.match(bare) else None
    if abroad is not None and phonenumbers.is_possible_number(abroad):
        return f"write {phonenumbers.format_number(abroad, phonenumbers.PhoneNumberFormat.E164)}"
    found = {}
    for region in _LIKELY_REGIONS:
        parsed = _parsed(bare, region)
        if parsed is not None and phonenumbers.is_valid_number(parsed):
            found[region] = phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164)
    if not found:
        return "write +, the country's code and the number, as in +13125550100"
    several = [f"{number} ({region})" for region, number in list(found.items())[:_MOST_SUGGESTED]]
    return f"write {' or '.join(several)}, or say whose it is: --region {next(iter(found))}"


def _parsed(text: str, region: str | None) -> phonenumbers.PhoneNumber | None:
    try:
        return phonenumbers.parse(text, region)
    except phonenumbers.NumberParseException:
        return None


class ClaimValue(click.ParamType[Any]):
    """A value that a tenant claims, in normal form."""

    name = "text"

    def __init__(self, kind: ClaimKind) -> None:
        self._kind = kind

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Claim:  # noqa: ANN401 - click's own signature
        """Give the claim; a region that the command was given stands in the context, read before."""
        if isinstance(value, Claim):
            return value
        try:
            return read_claim(self._kind, str(value), ctx.params.get("region") if ctx else None)
        except NoClaimError as error:
            self.fail(str(error), param, ctx)
