"""Sentiment: a provider's label, or a score of the caller's own words (VADER, Hutto & Gilbert 2014)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cache, lru_cache

import orjson

from voice_common.store.envelope import Envelope
from voice_common.store.lattice import Stamped
from voice_webhooks.contribution.vader import Analyzer
from voice_webhooks.contribution.values import number_of, object_of, objects_of, word_of

_LABELS = frozenset({"positive", "neutral", "negative"})
_TELLING = frozenset({"ai.assistant.transcript", "ai.assistant.ended", "call.conversation.ended"})
_THRESHOLD = 0.05
_SCALE = 10_000
_SCORED_CHARACTERS = 1000
SCORED_IN_AN_EVENT = 50_000
"""Characters of the caller that are scored in one event, some two hours of speech: a hostile event has its price."""


@cache
def _analyzer() -> Analyzer:
    return Analyzer()


@lru_cache(maxsize=16_384)
def score_of(text: str) -> int:
    """Score a text in -10000…10000; only its first 1,000 characters count, since VADER's cost can be quadratic."""
    compound: float = _analyzer().polarity_scores(_beginning_of(text))["compound"]
    return round(compound * _SCALE)


def scores_of(texts: Iterable[str]) -> Iterator[int | None]:
    """Score the caller's texts of one event in their order; ``None`` for those beyond `SCORED_IN_AN_EVENT`."""
    left = SCORED_IN_AN_EVENT
    for text in texts:
        yield score_of(text) if left > 0 else None
        left -= min(len(text), _SCORED_CHARACTERS)


def _beginning_of(text: str) -> str:
    """Give as much of a text as is scored. An emoji counts as the words that VADER reads in its place, up to 70."""
    beginning = text[:_SCORED_CHARACTERS]
    if beginning.isascii():
        return beginning
    described: Mapping[str, str] = _analyzer().emojis
    left = _SCORED_CHARACTERS
    for place, character in enumerate(beginning):
        left -= len(described.get(character, character))
        if left < 0:
            return beginning[:place]
    return beginning


def label_of(value: object) -> str | None:
    """Read a provider's sentiment: a label, ``{label, score}``, or a score in -1…1."""
    if isinstance(value, dict):
        return _label_of(value.get("label")) or _label_of(value.get("score"))
    return _label_of(value)


def _label_of(value: object) -> str | None:
    if (word := word_of(value)) in _LABELS:
        return word
    score = number_of(value)
    if score is None or not -1 <= score <= 1:
        return None
    if score >= _THRESHOLD:
        return "positive"
    return "negative" if score <= -_THRESHOLD else "neutral"


def sentiment_of(envelope: Envelope) -> Stamped[str] | None:
    """Give the sentiment that an event says outright, or ``None``."""
    label = label_of(envelope.payload.get("sentiment")) if envelope.type in _TELLING else None
    if envelope.type == "call.conversation_insights.generated":
        results = [_insight_label(result.get("result")) for result in objects_of(envelope.payload.get("results"))]
        label = next((found for found in results if found), None)
    return None if label is None else Stamped(envelope.occurred_at, envelope.event, label)


def _insight_label(result: object) -> str | None:
    if isinstance(result, str):
        if word_of(result) in _LABELS:
            return word_of(result)
        try:
            result = orjson.loads(result)
        except orjson.JSONDecodeError:
            return None
    return label_of(object_of(result).get("sentiment"))
