"""The whole system under a seeded schedule of faults, and the checker that says whether it survived."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from random import Random

import pytest
from soak import truth
from soak.calls import Event, make_call
from soak.ledger import Answer, Ledger
from soak.limits import excess
from soak.links import Link
from soak.marks import Mark
from soak.run import run
from soak.schedule import Fault, Step, links, plan

from voice_common.times import now_ms
from voice_local.process import free_port

OURS, THEIRS = Mark(1), Mark(2)
OVERVIEW = "/api/voice/analytics/overview"


@pytest.mark.timeout(300)
def test_a_minute_of_faults_loses_nothing_shows_nothing_foreign_and_ends_with_exact_figures() -> None:
    command = [sys.executable, "-m", "soak", "--seconds", "60", "--seed", "7"]
    ran = subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, (ran.stdout + ran.stderr)[-6000:]
    told = json.loads(ran.stdout.splitlines()[-1])
    assert told["clean"]
    assert [each["nodes"] for each in told["runs"]] == [1, 3]
    for each in told["runs"]:
        assert each["faults"]
        assert each["calm_seconds"]
        assert each["events"] > 100


@pytest.mark.timeout(200)
async def test_a_mongod_that_is_stopped_for_ten_seconds_is_answered_with_503_and_nothing_is_lost() -> None:
    steps = [Step((Fault("stop", "mongod", 10.0),), 1.0), Step()]
    survived = await run(3, steps, nodes=1, seconds=60, rate=60)
    ledger = survived.ledger
    assert not ledger.violations, ledger.examples
    assert ledger.answers["webhook", "503"] > 0
    assert ledger.answers["reader", "503"] > 0
    assert ledger.slowest["webhook"] < 2.0, "Telnyx waits no longer"
    assert ledger.slowest["reader"] < 10.0
    assert len(survived.calm) == 1


def test_the_same_seed_gives_the_same_schedule_and_all_of_it_is_of_the_system() -> None:
    steps = plan(7, 600, nodes=3, longest=5)
    assert steps == plan(7, 600, nodes=3, longest=5)
    assert steps != plan(8, 600, nodes=3, longest=5)
    assert steps[-1].is_calm
    assert sum(step.is_calm for step in steps) > 10
    faults = {(fault.kind, fault.target) for step in steps for fault in step.faults}
    assert {kind for kind, _ in faults} >= {
        "kill", "kill a worker", "stop", "restart", "step down", "cut", "mute", "delay", "reset", "refuse", "empty"
    }  # fmt: skip
    assert {target for _, target in faults if ">" in target} >= {"gateway>redis", "gateway>webhooks", "all>primary"}
    assert "webhooks>mongod" in links(1)


def asked(ledger: Ledger, status: int | None, body: object = None, **headers: str) -> Answer:
    answer = Answer(status, json.dumps(body).encode(), headers)
    ledger.answered("reader", OVERVIEW, 0.0, answer, expected={200})
    ledger.shown(OURS, OVERVIEW, answer)
    return answer


def figures(mean: float | None, calls: int = 0) -> dict[str, object]:
    return {"metrics": {"total_calls": calls, "avg_duration_seconds": mean}}


def test_what_may_happen_under_faults_is_no_violation() -> None:
    ledger = Ledger([OURS, THEIRS])
    asked(ledger, 200, figures(None))
    asked(ledger, 503, {}, **{"Retry-After": "1"})
    asked(ledger, 504, {}, **{"Retry-After": "1"})
    asked(ledger, None)
    for status in ("accepted", "duplicate", "duplicate"):
        ledger.acknowledged(OURS, _event(), status)
    assert not ledger.violations


@pytest.mark.parametrize(
    ("does", "rule"),
    [
        (lambda ledger: asked(ledger, 503, {}), "says when to try again"),
        (lambda ledger: asked(ledger, 500, {}), "every 5xx"),
        (lambda ledger: asked(ledger, 502, {}), "every 5xx"),
        (lambda ledger: asked(ledger, 401, {}), "nobody asked for"),
        (lambda ledger: asked(ledger, 403, {}), "nobody asked for"),
        (lambda ledger: asked(ledger, 200, figures(123.4) | {"text": f"{THEIRS.word} hello"}), "another tenant's data"),
        (lambda ledger: asked(ledger, 200, {"id": THEIRS.id(Random(1))}), "another tenant's data"),  # noqa: S311 - no secret
        (lambda ledger: asked(ledger, 200, {"from": f"{THEIRS.digits}0001"}), "another tenant's data"),
        (lambda ledger: asked(ledger, 200, figures(222.2)), "no figure is another tenant's"),
        (lambda ledger: asked(ledger, 200, figures(None, 1)), "never begun"),
        (lambda ledger: [ledger.acknowledged(OURS, _event(), "accepted") for _ in range(2)], "known from then on"),
    ],
)
def test_what_must_not_happen_is_a_violation(does: Callable[[Ledger], object], rule: str) -> None:
    ledger = Ledger([OURS, THEIRS])
    does(ledger)
    assert [rule in broken for broken in ledger.violations] == [True]


def _event() -> Event:
    return make_call(OURS, "1", Random(5), now_ms()).events[0]  # noqa: S311 - no secret


def test_figures_of_calls_are_within_the_band_of_their_tenant() -> None:
    rng = Random(5)  # noqa: S311 - no secret
    calls = [make_call(OURS, "1", rng, now_ms()) for _ in range(200)]
    mean = truth.overview(calls)["metrics"]["avg_duration_seconds"]
    assert OURS.shortest_talk / 1000 <= mean <= OURS.longest_talk / 1000
    bodies = b"".join(event.body for call in calls for event in call.events)
    assert OURS.shows_in(bodies)
    assert not THEIRS.shows_in(bodies)


def test_a_limit_that_lets_in_too_many_in_a_minute_is_found_unless_redis_was_disturbed() -> None:
    admitted = [(0.5 * place, 0.5 * place + 0.1) for place in range(25)]
    assert excess(admitted, [], 25) is None
    assert "25 requests" in (excess(admitted, [], 24) or "")
    assert excess(admitted, [3.0], 24) is None
    assert excess([*admitted, (60.2, 60.3)], [], 25) is None, "a window is 60 seconds"


@pytest.fixture
async def echo() -> AsyncIterator[int]:
    """A server that says back what it hears."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", free_port())
    yield server.sockets[0].getsockname()[1]
    server.close()


async def test_a_link_passes_everything_on_and_can_be_slow_cut_mute_reset_and_refused(echo: int) -> None:
    link = Link(free_port(), echo)
    await link.open()
    reader, writer = await asyncio.open_connection("127.0.0.1", link.port)

    async def said(data: bytes, seconds: float = 5.0) -> bytes:
        writer.write(data)
        async with asyncio.timeout(seconds):
            return await reader.readexactly(len(data))

    loop = asyncio.get_running_loop()
    large = bytes(range(256)) * 8192
    assert await said(large) == large
    link.delay = 0.1
    begun = loop.time()
    assert await said(b"slow") == b"slow"
    assert loop.time() - begun >= 0.2
    await link.heal()
    for held in ({}, {"there": False}):
        link.hold(**held)
        with pytest.raises(TimeoutError):
            await said(b"held", 0.1)
        await link.heal()
        assert await reader.readexactly(4) == b"held", "what was held up arrives in the end"
    link.reset()
    with pytest.raises(ConnectionResetError):
        await said(b"gone")
    await link.close()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", link.port)
    await link.heal()
    reader, writer = await asyncio.open_connection("127.0.0.1", link.port)
    assert await said(b"back") == b"back"
    writer.close()
    assert await reader.read() == b"", "the end is passed on too"
    await link.close()
