"""VADER (Hutto & Gilbert 2014): the same scores in two thirds of the time, for 1,000 characters in an eighth.

Looking for negations and idioms, it writes all words of a text in small letters once more for each word that it
knows, to look at six of them at most. Here it is given those alone.
"""

from __future__ import annotations

from collections.abc import Sequence

from vaderSentiment.vaderSentiment import NEGATE, SentimentIntensityAnalyzer

_NEGATIONS = frozenset(NEGATE)
_FARTHEST = 2
"""How far before a word a negation can be, of 0, 1 and 2, for other words between to count as well."""


class Analyzer(SentimentIntensityAnalyzer):  # type: ignore[misc] # without types
    """Gives for each text what `SentimentIntensityAnalyzer` gives for it."""

    @staticmethod
    def _negation_check(valence: float, words: Sequence[str], distance: int, place: int) -> float:
        first = words[place - distance - 1].lower()
        if distance < _FARTHEST and first not in _NEGATIONS and "n't" not in first:
            return valence
        near = words[place - distance - 1 : place]
        checked: float = SentimentIntensityAnalyzer._negation_check(valence, near, distance, distance + 1)  # noqa: SLF001
        return checked

    @staticmethod
    def _special_idioms_check(valence: float, words: Sequence[str], place: int) -> float:
        near = words[place - 3 : place + 3]
        checked: float = SentimentIntensityAnalyzer._special_idioms_check(valence, near, 3)  # noqa: SLF001
        return checked
