"""The legs of a call: what is known of each, and which of their names mean one leg. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from voice_common.store.lattice import Stamped, earliest


class Hangup(NamedTuple):
    """When a leg ended, and why."""

    ended_at: int
    cause: str | None


@dataclass(frozen=True, slots=True)
class Leg:
    """What is known of one leg of the call.

    `first` is the earliest time that one of its events speaks of, `occurred` the earliest time that one occurred.
    """

    first: Stamped[None] | None = None
    direction: Stamped[str] | None = None
    caller: Stamped[str] | None = None
    callee: Stamped[str] | None = None
    opened: bool = False
    hung_up: bool = False
    answered: bool = False
    occurred: Stamped[None] | None = None

    def join(self, other: Leg) -> Leg:
        """Join what two sets of events say of this leg."""
        return Leg(
            earliest(self.first, other.first),
            earliest(self.direction, other.direction),
            earliest(self.caller, other.caller),
            earliest(self.callee, other.callee),
            self.opened or other.opened,
            self.hung_up or other.hung_up,
            self.answered or other.answered,
            earliest(self.occurred, other.occurred),
        )


class Legs:
    """A call's legs: what was said of one under its leg id and under its control id is one leg.

    Events that name no leg speak of the call's only leg where there is just one, else of one of their own.
    `all` has them, the earliest first.
    """

    def __init__(self, said: Mapping[str, Leg], links: Iterable[tuple[str, str]]) -> None:
        self._parent: dict[str, str] = {}
        if len(said) <= 1:  # so it is with nearly all calls
            self._names, self.all = list(said), list(said.values())
            return
        for leg, control in sorted(links):
            left, right = sorted((self._root(leg), self._root(control)))
            self._parent[right] = left
        joined: dict[str, Leg] = {}
        for key, facts in said.items():
            if key:
                top = self._root(key)
                joined[top] = joined[top].join(facts) if top in joined else facts
        nameless = said.get("")
        if nameless is not None:
            only = next(iter(joined)) if len(joined) == 1 else ""
            joined[only] = joined[only].join(nameless) if only in joined else nameless
        # With their ids: two legs that begin at once must not be told apart by the order of arrival.
        self._names = sorted(joined, key=lambda name: (_beginning(joined[name]), name))
        self.all = [joined[name] for name in self._names]

    @property
    def first(self) -> Leg:
        """The earliest one of which any event speaks."""
        for leg in self.all:
            if leg.first:
                return leg
        return Leg()

    def place_of(self, key: str) -> int:
        """Give which leg it is that an event names: 0 is the earliest, and what names none is taken for it.

        Events that name no leg are no reason to take a leg that has a name for a later one.
        """
        if not key or len(self._names) <= 1:
            return 0
        named = [name for name in self._names if name]
        name = self._root(key)
        return named.index(name) if name in named else 0

    def _root(self, key: str) -> str:
        while (above := self._parent.setdefault(key, key)) != key:
            key = above
        return key


def _beginning(leg: Leg) -> tuple[int, int, str]:
    """Order legs: all of a call's can carry the same `start_time`, so the events' own times come before their ids."""
    if leg.first is None:
        return 0, 0, ""
    own = leg.occurred or leg.first
    return leg.first.at, own.at, own.event
