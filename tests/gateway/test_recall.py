"""What is remembered of tokens and tenants: for how long, by whom it is looked up, and how much of it."""

from __future__ import annotations

import asyncio

import pytest

from voice_gateway.recall import MAX_AGE, Recall


class Store:
    """What look-ups find; each waits until it is let go where `gates` are wanted, and takes `seconds`."""

    def __init__(self, *, gated: bool = False) -> None:
        self.things: dict[str, str] = {}
        self.asked: list[str] = []
        self.gates: list[asyncio.Event] = []
        self.now = 0.0
        self.seconds = 0.0
        self._gated = gated

    async def load(self, key: str) -> str | None:
        self.asked.append(key)
        found = self.things.get(key)
        self.now += self.seconds
        if self._gated:
            gate = asyncio.Event()
            self.gates.append(gate)
            await gate.wait()
        return found

    def recall(self, *, remember_absence: bool, size: int = 100) -> Recall[str]:
        return Recall(self.load, remember_absence=remember_absence, size=size, clock=lambda: self.now)


async def turns(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


@pytest.mark.parametrize("thing", ["x", None])
async def test_an_answer_is_remembered_for_4_s_from_the_start_of_its_look_up(thing: str | None) -> None:
    store = Store()
    store.things = {} if thing is None else {"k": thing}
    store.seconds = 1.5
    recall = store.recall(remember_absence=True)
    assert await recall.get("k") == thing
    store.now = MAX_AGE - 0.01
    assert await recall.get("k") == thing
    assert store.asked == ["k"]
    store.now = MAX_AGE
    assert recall.known("k") is None
    assert await recall.get("k") == thing
    assert store.asked == ["k", "k"]


async def test_what_was_absent_is_found_at_once_unless_absence_is_remembered() -> None:
    for remember_absence, found in ((False, "x"), (True, None)):
        store = Store()
        recall = store.recall(remember_absence=remember_absence)
        assert await recall.get("k") is None
        store.things["k"] = "x"
        assert await recall.get("k") == found


async def test_what_is_gone_is_forgotten_by_the_look_up_that_finds_out() -> None:
    store = Store()
    store.things["k"] = "x"
    recall = store.recall(remember_absence=False)
    assert await recall.get("k") == "x"
    store.now = MAX_AGE
    del store.things["k"]
    assert await recall.get("k") is None
    store.now = 0.0
    assert recall.known("k") is None


async def test_nobody_gets_an_absence_from_a_look_up_that_began_before_they_asked() -> None:
    store = Store(gated=True)
    recall = store.recall(remember_absence=False)
    first = asyncio.create_task(recall.get("k"))
    await turns()
    store.things["k"] = "x"
    second = asyncio.create_task(recall.get("k"))
    await turns()
    assert store.asked == ["k"], "one look-up at a time for a key"
    store.gates[0].set()
    assert await first is None
    await turns()
    store.gates[1].set()
    assert await second == "x"


async def test_a_caller_that_leaves_cancels_nothing_for_the_others() -> None:
    store = Store(gated=True)
    store.things["k"] = "x"
    recall = store.recall(remember_absence=True)
    leaver, stayer = (asyncio.create_task(recall.get("k")) for _ in range(2))
    await turns()
    leaver.cancel()
    await turns()
    store.gates[0].set()
    assert await stayer == "x"
    assert store.asked == ["k"]


async def test_an_error_is_everybodys_who_waits_and_is_not_remembered() -> None:
    store = Store()
    failing = True

    async def load(key: str) -> str | None:
        await store.load(key)
        if failing:
            raise ConnectionError
        return "x"

    recall = Recall(load, remember_absence=True)
    results = await asyncio.gather(recall.get("k"), recall.get("k"), return_exceptions=True)
    assert [type(result) for result in results] == [ConnectionError] * 2
    failing = False
    assert await recall.get("k") == "x"
    assert store.asked == ["k", "k"]


async def test_answers_and_absences_are_bounded_and_the_oldest_goes_first() -> None:
    store = Store()
    store.things = {f"k{n}": "x" for n in range(50)}
    recall = store.recall(remember_absence=True, size=10)
    for n in range(100):
        await recall.get(f"k{n}")
    assert [n for n in range(100) if recall.known(f"k{n}") is not None] == list(range(40, 50))
    assert [n for n in range(100) if recall.known_absent(f"k{n}")] == list(range(90, 100))


async def test_what_is_asked_for_all_the_time_is_looked_up_beside_and_never_unknown() -> None:
    store = Store()
    store.things = {"k": "old"}
    recall = store.recall(remember_absence=True)
    await recall.get("k")
    store.things["k"] = "new"
    store.now = MAX_AGE / 2 - 0.01
    assert recall.known("k") == "old"
    await turns()
    assert store.asked == ["k"]
    store.now = MAX_AGE / 2
    assert recall.known("k") == recall.known("k") == "old"
    await turns()
    assert (recall.known("k"), store.asked) == ("new", ["k", "k"])


async def test_a_look_up_beside_that_fails_leaves_what_is_known_until_it_is_too_old() -> None:
    answers: list[str | Exception] = ["x", ConnectionError("down")]
    now = 0.0

    async def load(_key: str) -> str:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    recall = Recall(load, remember_absence=True, clock=lambda: now)
    await recall.get("k")
    now = MAX_AGE / 2
    assert recall.known("k") == "x"
    await turns()
    assert recall.known("k") == "x"
    now = MAX_AGE
    assert recall.known("k") is None
