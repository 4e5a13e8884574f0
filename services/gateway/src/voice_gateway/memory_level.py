"""The cache's first level: in this process, the least recently used goes first, bounded by bytes."""

from __future__ import annotations

from collections import OrderedDict

from voice_gateway.answers import Answer
from voice_gateway.metrics import CACHE_BYTES


class MemoryLevel:
    """Answers by key; at most `max_bytes` of them."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._answers: OrderedDict[str, tuple[Answer, int]] = OrderedDict()
        self._bytes = 0

    def get(self, key: str) -> Answer | None:
        """Give what is kept, fresh or not."""
        entry = self._answers.get(key)
        if entry is None:
            return None
        self._answers.move_to_end(key)
        return entry[0]

    def put(self, key: str, answer: Answer) -> None:
        """Keep an answer, unless a newer one is there; put it again when it grew by a form."""
        entry = self._answers.get(key)
        if entry is not None:
            if entry[0].computed_us > answer.computed_us:
                return
            self._bytes -= entry[1]
        size = answer.size + len(key)
        self._answers[key] = (answer, size)
        self._answers.move_to_end(key)
        self._bytes += size
        while self._bytes > self._max_bytes:
            _, (_, freed) = self._answers.popitem(last=False)
            self._bytes -= freed
        CACHE_BYTES.set(self._bytes)
