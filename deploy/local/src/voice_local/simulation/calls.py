"""The calls of a simulation: the same for the same seed, tenant and day."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from voice_common.times import DAY_MS, HOUR_MS
from voice_local.simulation import scenes
from voice_local.simulation.parties import Parties
from voice_local.simulation.story import Call, Story

# Weights of the hours of a day, UTC: most people call in business hours.
_HOURS = (1, 1, 1, 1, 1, 1, 2, 3, 6, 9, 10, 10, 8, 9, 10, 10, 9, 7, 4, 3, 2, 2, 1, 1)
_LONGEST_CALL = 45 * 60_000


def first_day(days: int, now: int) -> int:
    """Give the start (ms) of the first of the `days` whole UTC days before `now`'s."""
    return now - now % DAY_MS - days * DAY_MS


def generate(parties: Parties, *, seed: int, count: int, days: int, now: int, storage: int | None = None) -> list[Call]:
    """Give `count` calls of the `days` whole UTC days before the one of `now`, by their start.

    Their recordings can be heard where the port of a running `storage` is given.

    Every mix of calls has all kinds in it: busy lines, no answers, transfers, voicemail, calls whose end was lost.
    """
    first = first_day(days, now)
    last = first + days * DAY_MS - _LONGEST_CALL  # none reaches into today, where it would not be over yet
    base = f"{parties.tenant}/{seed}/{first}/{days}"
    deck: list[Callable[[Story], None]] = []
    shuffler = random.Random(base)  # noqa: S311 - no secret
    calls = []
    for number in range(count):
        if not deck:
            deck = [plot for plot, copies in _PLOTS for _ in range(copies)]
            shuffler.shuffle(deck)
        rng = random.Random(f"{base}/{number}")  # noqa: S311 - no secret
        hour = rng.choices(range(24), _HOURS)[0]
        start = min(first + rng.randrange(days) * DAY_MS + hour * HOUR_MS + rng.randrange(HOUR_MS), last)
        story = Story(parties, rng, f"{base}/{number}", start, storage)
        deck.pop()(story)
        calls.append(story.over())
    return sorted(calls, key=lambda call: (call.started_at, call.session))


def _talk(story: Story, *, official: bool = False) -> None:
    leg = scenes.ring(story, incoming=story.chance(0.7))
    scenes.answer(story, leg)
    begun, turns = story.now, story.rng.randrange(1, 5)
    if official:
        scenes.talk_officially(story, leg, turns=turns)
    else:
        scenes.talk(story, leg, turns=turns)
    scenes.hang_up(story, leg, source=story.rng.choice(("caller", "callee")))
    if story.chance(0.85):
        scenes.record(story, leg, begun)
    if story.chance(0.1):
        scenes.record(story, leg, begun)
    scenes.settle(story, leg)


def _talk_officially(story: Story) -> None:
    _talk(story, official=True)


def _answer_not_told(story: Story) -> None:
    """Lose the event of the answer: the first thing that the assistant says shows that there was one."""
    leg = scenes.ring(story, incoming=True)
    story.answered_at = story.now
    scenes.talk(story, leg, turns=2)
    scenes.hang_up(story, leg)
    scenes.settle(story, leg)


def _gather(story: Story) -> None:
    leg = scenes.ring(story, incoming=True)
    scenes.answer(story, leg)
    scenes.gather(story, leg)
    scenes.hang_up(story, leg)
    scenes.settle(story, leg)


def _transfer(story: Story) -> None:
    leg = scenes.ring(story, incoming=True)
    scenes.answer(story, leg)
    begun = story.now
    scenes.talk(story, leg, turns=2)
    second = scenes.ring(story, incoming=False)
    scenes.answer(story, second)
    story.tell("call.bridged", leg, **leg.parties)
    story.wait(20, 240)
    scenes.hang_up(story, second)
    scenes.hang_up(story, leg)
    scenes.record(story, leg, begun)
    scenes.settle(story, leg)


def _voicemail(story: Story) -> None:
    leg = scenes.ring(story, incoming=False)
    scenes.answer(story, leg)
    story.tell("call.machine.detection.ended", leg, **leg.parties, call_control_id=..., result="machine")
    story.wait(2, 5)
    story.tell("call.machine.greeting.ended", leg, **leg.parties, call_control_id=..., result="beep_detected")
    story.wait(5, 20)
    scenes.hang_up(story, leg, source="callee")
    scenes.settle(story, leg)


def _never_answered(cause: str) -> Callable[[Story], None]:
    def plot(story: Story) -> None:
        leg = scenes.ring(story, incoming=story.chance(0.4))
        story.wait(1, 30)
        scenes.hang_up(story, leg, cause, "unknown")

    return plot


def _end_not_told(story: Story) -> None:
    """Lose a hangup: the call never ends as far as anybody knows."""
    leg = scenes.ring(story, incoming=True)
    scenes.answer(story, leg)
    scenes.talk(story, leg, turns=2)
    if story.chance(0.5):
        second = scenes.ring(story, incoming=False)
        scenes.answer(story, second)
        scenes.hang_up(story, leg)
    story.ended_at = None


_PLOTS: Sequence[tuple[Callable[[Story], None], int]] = (
    (_talk, 9),
    (_talk_officially, 4),
    (_answer_not_told, 1),
    (_gather, 1),
    (_transfer, 1),
    (_voicemail, 1),
    (_never_answered("no_answer"), 1),
    (_never_answered("user_busy"), 1),
    (_never_answered("originator_cancel"), 1),
    (_end_not_told, 1),
)
