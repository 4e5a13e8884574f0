"""What was done and answered, and what of it must never have been: the history, checked as it is written."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from soak.calls import Call, Event
from soak.marks import Mark

_SHOWN = 5
_WAITABLE = frozenset({503, 504})


@dataclass(frozen=True)
class Answer:
    """What a client got; `status` is ``None`` where the connection was cut or nothing came in time."""

    status: int | None
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)

    def json(self) -> Any:
        return orjson.loads(self.body)


class Ledger:
    """The history of one run, of all its clients."""

    def __init__(self, marks: Sequence[Mark]) -> None:
        self._marks = marks
        self._started = time.monotonic()
        self.violations: Counter[str] = Counter()
        self.examples: list[str] = []
        self.answers: Counter[tuple[str, str]] = Counter()
        self.slowest: dict[str, float] = {}
        self.begun: dict[Mark, list[Call]] = {mark: [] for mark in marks}
        self.known: dict[str, str] = {}
        self.of_event: dict[str, Mark] = {}
        self.admitted: list[tuple[float, float]] = []
        self.disturbed: list[float] = []

    @property
    def now(self) -> float:
        """Seconds since the run began."""
        return time.monotonic() - self._started

    def violated(self, rule: str, example: object) -> None:
        """Write down that a rule was broken."""
        self.violations[rule] += 1
        if self.violations[rule] <= _SHOWN:
            self.examples.append(f"{self.now:.1f} s: {rule}: {example}"[:1500])

    def answered(self, client: str, path: str, sent: float, answer: Answer, *, expected: set[int]) -> None:
        """Write down an answer; `sent` is `now` of when it was asked for, `expected` what it may be but a failure."""
        self.answers[client, "none" if answer.status is None else str(answer.status)] += 1
        if answer.status is None:
            return
        self.slowest[client] = max(self.slowest.get(client, 0.0), self.now - sent)
        if answer.status in expected:
            return
        if answer.status in _WAITABLE:
            if not answer.headers.get("Retry-After", "").isdigit():
                self.violated("a 503 or 504 says when to try again", (path, answer.status, dict(answer.headers)))
            return
        rule = "every 5xx is a 503 or 504" if answer.status >= 500 else "no answer is one that nobody asked for"
        self.violated(rule, (client, path, answer.status, answer.body[:200]))

    def shown(self, mark: Mark, path: str, answer: Answer) -> None:
        """Check that an answer shows nothing of another tenant, and no figure that can't be its own."""
        for other in self._marks:
            if other != mark and other.shows_in(answer.body):
                self.violated("no answer shows another tenant's data", (mark.tenant, path, answer.body[:300]))
        if answer.status == 200 and "/analytics/" in path:
            body = answer.json()
            rows = body.get("timeline") or [body.get("metrics", {})]
            means = [row.get("avg_duration_seconds") for row in rows]
            if any(mean is not None and not mark.is_mean(mean) for mean in means):
                self.violated("no figure is another tenant's", (mark.tenant, path, body))
            count = sum(row.get("call_count", row.get("total_calls", 0)) for row in rows)
            if count > len(self.begun[mark]):
                self.violated("no call is counted that was never begun", (mark.tenant, path, count))

    def acknowledged(self, mark: Mark, event: Event, status: str) -> None:
        """Write down what a webhook was acknowledged with."""
        before = self.known.get(event.id)
        if before in {"accepted", "duplicate"} and status != "duplicate":
            self.violated("what was acknowledged is known from then on", (event.id, before, status))
        if status not in {"accepted", "duplicate", "quarantined"}:
            self.violated("an acknowledgement is one of three", (event.id, status))
        self.known[event.id] = status
        self.of_event[event.id] = mark
