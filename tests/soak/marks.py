"""What makes a tenant's data known as its own wherever it shows: in ids, texts, numbers and figures."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random


@dataclass(frozen=True)
class Mark:
    """The marks of tenant number `place` (1 to 9); none of them is part of another tenant's."""

    place: int

    @property
    def tenant(self) -> str:
        return f"tenant-{self.word}"

    @property
    def word(self) -> str:
        """What every text has in it; no word that a sentiment is read from."""
        return f"zq{self.place}qz"

    @property
    def digits(self) -> str:
        """What every phone number begins with."""
        return f"+1880{self.place:03}"

    @property
    def hexadecimal(self) -> str:
        """What every id begins with."""
        return f"a0b0c00{self.place}"

    @property
    def shortest_talk(self) -> int:
        """Milliseconds: talks last this long up to `longest_talk`, so that their mean does too in the end."""
        return 100_000 * self.place

    @property
    def longest_talk(self) -> int:
        return 100_000 * self.place + 50_000

    def is_mean(self, seconds: float) -> bool:
        """Tell whether a mean talk time can be this tenant's.

        None is too short: while some of a call's events are still to come its answer may be known only by something
        that was said later, and its end by that of its assistant's session, as long as no leg is known.
        """
        return 0 <= seconds <= self.longest_talk / 1000

    def id(self, rng: Random) -> str:
        """Make up a UUID."""
        figures = f"{rng.getrandbits(88):022x}"
        return f"{self.hexadecimal}-{figures[:4]}-4{figures[4:7]}-8{figures[7:10]}-{figures[10:]}"

    def shows_in(self, body: bytes) -> bool:
        """Tell whether anything in an answer is this tenant's."""
        return any(text.encode() in body for text in (self.word, self.digits, self.hexadecimal))
