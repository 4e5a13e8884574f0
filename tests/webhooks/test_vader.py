"""What a text scores is what VADER itself gives for it."""

from __future__ import annotations

from hypothesis import example, given, settings
from hypothesis import strategies as st
from vaderSentiment.vaderSentiment import BOOSTER_DICT, NEGATE, SPECIAL_CASES, SentimentIntensityAnalyzer

from voice_webhooks.contribution.vader import Analyzer

PLAIN, QUICK = SentimentIntensityAnalyzer(), Analyzer()
_NEAR = ["so", "this", "doubt", "least", "at", "very", "but", "or", "nor", "kind", "of", "table", "isn't", "Friday"]
_FELT = ["good", "GREAT", "hate!", "love", "horrible", "no", "bad", ":)", "\U0001f600", "amazing?", "fun", "cold"]
_PHRASES = [*NEGATE, *BOOSTER_DICT, *SPECIAL_CASES]
words = st.one_of(*map(st.sampled_from, (_NEAR, _FELT, _FELT, _PHRASES)))


@settings(max_examples=1500, deadline=None)
@given(st.lists(words, max_size=12).map(" ".join))
@example("never table this good")
@example("without table doubt good")
@example("never so good this is the bomb")
@example("it is to die for")
def test_a_text_scores_as_vader_scores_it(text: str) -> None:
    assert QUICK.polarity_scores(text) == PLAIN.polarity_scores(text)
