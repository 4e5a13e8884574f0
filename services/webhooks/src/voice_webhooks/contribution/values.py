"""Values as providers send them: numbers as strings, words in any case, anything missing or null."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import orjson

_TRUE, _FALSE = frozenset({"true", "1", "yes"}), frozenset({"false", "0", "no"})
_WEB_URL = re.compile(r"https?://\S+", re.IGNORECASE)
_SAFE_INTEGER = 2**53


def text_of(value: object) -> str | None:
    """Read a text that is not empty; a number is read as its digits."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    return value if isinstance(value, str) and value.strip() else None


def web_url_of(value: object) -> str | None:
    """Read an http or https URL, which a client can follow; ``None`` for any other one."""
    text = value.strip() if isinstance(value, str) else ""
    if not _WEB_URL.fullmatch(text) or not text.isprintable():
        return None
    try:
        return text if urlsplit(text).hostname else None
    except ValueError:
        return None


def word_of(value: object) -> str:
    """Read a word in lower case; the empty string where there is none."""
    return value.strip().lower() if isinstance(value, str) else ""


def number_of(value: object) -> float | None:
    """Read a finite number, also one written as a string."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) and abs(number) <= _SAFE_INTEGER else None


def flag_of(value: object) -> bool | None:
    """Read a truth value, also one written as a string or a number."""
    if isinstance(value, bool):
        return value
    word = word_of(str(value)) if isinstance(value, int | str) else ""
    if word in _TRUE:
        return True
    return False if word in _FALSE else None


def object_of(value: object) -> Mapping[str, Any]:
    """Read an object; an empty one where there is none."""
    return value if isinstance(value, dict) else {}


def objects_of(value: object) -> list[Mapping[str, Any]]:
    """Read a list's objects with what is no object left out."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def json_text_of(value: object) -> str | None:
    """Read what may come as JSON text or as a value, as text; ``None`` for what is nested too deeply to show."""
    if value is None or isinstance(value, str):
        return value or None
    try:
        return orjson.dumps(value).decode()
    except orjson.JSONEncodeError:
        return None
