"""Simulated calls are realistic, repeatable, and come to what the oracle says."""

from __future__ import annotations

from functools import reduce

import pytest
from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

from voice_common.store.envelope import read_envelope
from voice_common.store.facts import Phase, facts_of
from voice_common.store.state import CallState
from voice_common.store.tenants import Claim, ClaimKind, Tenant
from voice_common.times import DAY_MS
from voice_local.simulation import oracle, phrases
from voice_local.simulation.calls import first_day, generate
from voice_local.simulation.delivery import planned
from voice_local.simulation.parties import NoClaimsError, Parties
from voice_local.simulation.story import Call
from voice_webhooks.contribution import contribution_of
from voice_webhooks.projection.language import is_english

NOW = 1_763_868_630_000
CLAIMS = (
    Claim(ClaimKind.CONNECTION, "2694492062593582591"),
    Claim(ClaimKind.ASSISTANT, "assistant-1"),
    Claim(ClaimKind.NUMBER, "+13125550100"),
)


def calls_of(*claims: Claim, seed: int = 1, count: int = 120, days: int = 4) -> list[Call]:
    return generate(Parties.of(Tenant("acme", "Acme", claims=claims)), seed=seed, count=count, days=days, now=NOW)


def test_the_same_seed_gives_the_same_calls_and_another_seed_other_ids() -> None:
    assert calls_of(*CLAIMS) == calls_of(*CLAIMS)
    ids = {event.id for call in calls_of(*CLAIMS) for event in call.events}
    assert ids.isdisjoint(event.id for call in calls_of(*CLAIMS, seed=2) for event in call.events)
    assert len(ids) == sum(len(call.events) for call in calls_of(*CLAIMS))


def test_calls_lie_within_whole_days_that_are_over() -> None:
    first = first_day(4, NOW)
    times = [event.at for call in calls_of(*CLAIMS, count=400) for event in call.events]
    assert first <= min(times)
    assert max(times) < first + 4 * DAY_MS == NOW - NOW % DAY_MS


def test_a_handful_of_calls_has_every_kind_in_it() -> None:
    kinds = {event.type for call in calls_of(*CLAIMS, count=63) for event in call.events}
    assert kinds >= {
        "call.initiated", "call.answered", "call.hangup", "call.recording.saved", "call.bridged", "call.cost",
        "call.transcription", "call.conversation.ended", "call.ai_gather.ended", "call.machine.detection.ended",
        "call.conversation_insights.generated", "ai.assistant.transcript", "ai.assistant.tool_call",
        "ai.assistant.response", "ai.assistant.ended",
    }  # fmt: skip


def test_the_oracle_and_the_projection_agree_call_by_call() -> None:
    for call in calls_of(*CLAIMS, count=400):
        said = [contribution_of(read_envelope(event.body(1), received_at=0), "key") for event in call.events]
        whole = reduce(CallState.join, (state for state in said if state is not None), CallState())
        facts = facts_of(whole, is_english)
        assert (facts.started_at, facts.answered_at, facts.ended_at) == (
            call.started_at,
            call.answered_at,
            call.ended_at,
        )
        assert (facts.phase == Phase.COMPLETED) == call.completed
        assert (facts.sentiment, facts.recording_available) == (call.sentiment, call.recorded)
        assert (facts.tools_succeeded, facts.tools_known) == (sum(call.tools.values()), len(call.tools))


@pytest.mark.parametrize("mood", sorted(phrases.BY_MOOD))
def test_every_line_is_plainly_of_its_mood(mood: str) -> None:
    analyzer = SentimentIntensityAnalyzer()
    for line in phrases.BY_MOOD[mood]:
        score = analyzer.polarity_scores(line)["compound"]
        assert {"positive": score > 0.3, "negative": score < -0.3, "neutral": score == 0.0}[mood], line


def test_duplicates_are_the_share_asked_for_and_shuffling_moves_them() -> None:
    calls = calls_of(*CLAIMS, count=30)
    events = sum(len(call.events) for call in calls)
    ordered, shuffled = planned(calls, duplicates=0.3), planned(calls, duplicates=0.3, shuffle=True)
    assert len(ordered) == len(shuffled) == events + round(0.3 * events)
    assert [event.at for event, _ in ordered] == sorted(event.at for event, _ in ordered)
    assert [event.at for event, _ in shuffled] != sorted(event.at for event, _ in shuffled)


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: str(claim.kind))
def test_a_tenant_with_one_claim_can_be_told_from_the_calls(claim: Claim) -> None:
    for call in calls_of(claim, count=20):
        text = b"".join(event.body(1) for event in call.events)
        assert claim.value.encode() in text


def test_a_tenant_without_claims_is_refused() -> None:
    with pytest.raises(NoClaimsError, match="claims no connection"):
        calls_of()


def test_the_oracle_rounds_exact_means_half_to_even() -> None:
    calls = [Call(str(n), 0, 0, duration, None, False, {}, ()) for n, duration in enumerate((100, 400))]  # noqa: FBT003
    assert oracle.metrics(calls)["avg_duration_seconds"] == 0.2
    assert oracle.metrics([])["avg_duration_seconds"] is None
    assert oracle.timeline(calls) == [{"bucket": "1970-01-01T00:00:00Z", "call_count": 2, "avg_duration_seconds": 0.2}]
