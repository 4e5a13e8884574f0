"""Phone numbers and SIP addresses in the one form in which claims and events meet. Pure."""

from __future__ import annotations

import re

_NOISE = re.compile(r"[\s().\-]")
_DEFAULT_PORTS = re.compile(r":(?:5060|5061)$")
_WITHHELD = frozenset(
    {
        "anonymous", "blocked", "id unavailable", "no caller id", "not available", "null", "none", "number withheld",
        "out of area", "private", "private number", "restricted", "unavailable", "unidentified", "unknown", "withheld",
    }
)  # fmt: skip
_SPELLED = frozenset({"266696687", "2562533", "7378742833", "7748283", "8656696", "86282452253"})
"""ANONYMOUS, BLOCKED, RESTRICTED, PRIVATE, UNKNOWN and UNAVAILABLE on a telephone's keys: they come as numbers."""


def normal_number(text: str) -> str | None:
    """Give a number or SIP address in normal form, or ``None`` where nobody is named: it is withheld or empty.

    A number is without spaces, dots, dashes and parentheses, of ``tel:`` without parameters. A SIP address is
    ``sip:user@host``: scheme and host in small letters, without display name, password, parameters, headers and
    the usual ports; the user stays as it is.
    """
    said = text.strip()
    if said[-1:] == ">" and "<" in said:
        said = said[said.rindex("<") + 1 : -1].strip()
    scheme, colon, rest = said.partition(":")
    kind = scheme.lower() if colon else ""
    if kind in {"sip", "sips"} or "@" in said:
        return _address(rest if kind in {"sip", "sips"} else said)
    number = _NOISE.sub("", (rest if kind == "tel" else said).partition(";")[0])
    return None if not number or is_withheld(number) or is_withheld(said) else number


def former_number(text: str) -> str:
    """Give the form in which releases before this one stored a claim: of SIP addresses it lost dots and dashes."""
    return _NOISE.sub("", text.strip().removeprefix("tel:"))


def is_withheld(text: str) -> bool:
    """Tell whether a caller's id says that there is none, in words or in a telephone's keys."""
    words = " ".join(text.strip().lower().replace("_", " ").replace("-", " ").split())
    return words in _WITHHELD or text.strip().removeprefix("+") in _SPELLED


def is_sip(number: str) -> bool:
    """Tell whether a number in normal form is a SIP address."""
    return number.startswith("sip:")


def looks_like(number: str, other: str) -> bool:
    """Tell whether two numbers in normal form may be one that was written in two ways."""
    if is_sip(number) or is_sip(other):
        return number.lower() == other.lower() or (is_sip(number) and is_sip(other) and _user(number) == _user(other))
    digits, others = _significant(number), _significant(other)
    shared = min(len(digits), len(others))
    return shared >= 6 and digits[-shared:] == others[-shared:]  # noqa: PLR2004 - fewer are alike by chance


def _address(rest: str) -> str | None:
    user, at, host = rest.partition("?")[0].rpartition("@")
    host = _DEFAULT_PORTS.sub("", host.partition(";")[0].strip().lower())
    user = user.partition(";")[0].partition(":")[0].strip()
    if not host or is_withheld(user) or (not at and is_withheld(host)) or host == "anonymous.invalid":
        return None
    return f"sip:{user}@{host}" if user else f"sip:{host}"


def _user(address: str) -> str:
    return address.removeprefix("sip:").rpartition("@")[0].lower()


def _significant(number: str) -> str:
    return "".join([character for character in number if character.isdigit()]).lstrip("0")
