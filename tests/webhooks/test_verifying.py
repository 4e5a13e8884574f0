"""Signatures that come many at a time are checked by a process beside the worker, which goes on without it."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import structlog
from nacl.signing import SigningKey
from prometheus_client import Counter
from webhooks_factories import Service, Signer, body_of, event, until

from voice_common.telemetry.tally import TALLY
from voice_webhooks import verifier, verifying
from voice_webhooks.telemetry import CHECKED_BESIDE
from voice_webhooks.verifier import Check, pack, unpack
from voice_webhooks.verifying import Verifying

KEY, OTHER = SigningKey.generate(), SigningKey.generate()
GOOD = Check(bytes(KEY.verify_key), bytes(KEY.sign(b"message")))
FLAWS = [
    Check(bytes(OTHER.verify_key), GOOD.signed),
    Check(GOOD.key, GOOD.signed + b"."),
    Check(GOOD.key, GOOD.signed[:-1]),
    Check(GOOD.key, b"\0" * 64),
    Check(GOOD.key, b"short"),
    Check(GOOD.key, b""),
    Check(b"no key", GOOD.signed),
    Check(b"", GOOD.signed),
]
MANY = 40


def verifiers() -> list[int]:
    """Give the pids of the verifiers of this process that run."""
    return [int(pid) for pid in children() if verifier.__name__.encode() in _command(pid)]


def children() -> set[str]:
    """Give the pids of all children of this process, those included that ended and were not waited for."""
    return {pid for task in Path("/proc/self/task").iterdir() for pid in (task / "children").read_text().split()}


def _command(pid: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def count(counter: Counter) -> float:
    TALLY.flush()
    return counter._value.get()  # type: ignore[no-any-return]


async def together(checks: Verifying, many: list[Check]) -> list[bool]:
    return list(await asyncio.wait_for(asyncio.gather(*(checks.check(*each) for each in many)), 10))


@pytest.fixture
async def beside(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Verifying]:
    monkeypatch.setattr(verifying, "_RESTART_SECONDS", 0.0)
    checks = Verifying(beside=True)
    yield checks
    await checks.close()
    assert verifiers() == []


@pytest.fixture
async def ready(beside: Verifying) -> Verifying:
    """Checks whose verifier has started."""
    before = count(CHECKED_BESIDE)

    async def used() -> bool:
        assert await together(beside, [GOOD] * MANY) == [True] * MANY
        return count(CHECKED_BESIDE) > before

    await until(used)
    return beside


async def test_each_of_many_hears_of_its_own_signature(ready: Verifying) -> None:
    before = verifiers()
    mixed = [GOOD, *FLAWS] * 100
    assert await together(ready, mixed) == [check is GOOD for check in mixed]
    assert verifiers() == before  # it understood all that it was sent


async def test_a_few_are_checked_without_a_verifier(beside: Verifying) -> None:
    for check in [GOOD, *FLAWS]:
        assert await together(beside, [check]) == [check is GOOD]
    assert verifiers() == []


async def test_no_verifier_is_started_where_none_is_wanted() -> None:
    checks = Verifying(beside=False)
    mixed = [GOOD, *FLAWS] * 10
    assert await together(checks, mixed) == [check is GOOD for check in mixed]
    assert verifiers() == []
    await checks.close()


@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGSTOP])
async def test_what_a_verifier_does_not_answer_is_checked_all_the_same_and_another_takes_its_place(
    ready: Verifying, sign: signal.Signals
) -> None:
    (first,) = verifiers()
    os.kill(first, sign)
    mixed = [GOOD, *FLAWS] * 20
    assert await together(ready, mixed) == [check is GOOD for check in mixed]

    async def replaced() -> bool:
        assert await together(ready, mixed) == [check is GOOD for check in mixed]
        return verifiers() not in ([], [first])

    await until(replaced)
    await until(lambda: _gone(first))


async def _gone(pid: int) -> bool:
    return not Path(f"/proc/{pid}").exists()


async def test_what_is_logged_of_a_verifier_is_of_no_request(beside: Verifying) -> None:
    structlog.contextvars.bind_contextvars(request_id="r-1")
    with structlog.testing.capture_logs(processors=[structlog.contextvars.merge_contextvars]) as logs:

        async def started() -> bool:
            assert all(await together(beside, [GOOD] * MANY))
            return verifiers() != []

        async def said() -> bool:
            assert all(await together(beside, [GOOD] * MANY))
            return bool(logs)

        await until(started)
        os.kill(verifiers()[0], signal.SIGKILL)
        await until(said)
    structlog.contextvars.clear_contextvars()
    assert "request_id" not in logs[0]


async def test_one_that_can_not_be_started_is_done_without(beside: Verifying, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nothing/here")
    mixed = [GOOD, *FLAWS] * 10
    for _ in range(3):
        assert await together(beside, mixed) == [check is GOOD for check in mixed]
    assert verifiers() == []


async def test_one_that_can_not_be_connected_to_is_ended_and_waited_for(
    beside: Verifying, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, tried = children(), []

    async def refused(*_: object, **__: object) -> None:
        tried.append(children() - before)
        raise OSError

    monkeypatch.setattr(asyncio.get_running_loop(), "create_unix_connection", refused)
    assert all(await together(beside, [GOOD] * MANY))

    async def tried_once() -> bool:
        return bool(tried)

    await until(tried_once)
    assert tried[0]  # the process was there
    await beside.close()
    assert not any(_command(pid) or pid in children() for started in tried for pid in started)


async def test_closing_waits_for_a_verifier_that_was_killed_before(ready: Verifying) -> None:
    (killed,) = verifiers()
    loop, go_on = asyncio.get_running_loop(), threading.Event()
    with ThreadPoolExecutor(1) as only:
        loop.set_default_executor(only)
        only.submit(go_on.wait)  # what would wait for the process has to wait
        ready._beside = False
        os.kill(killed, signal.SIGKILL)

        async def alone() -> bool:
            return ready._verifier is None

        await until(alone)
        closing = asyncio.create_task(ready.close())
        for _ in range(10):
            await asyncio.sleep(0)
        still_waited = not closing.done()
        go_on.set()
        await closing
        assert still_waited
        assert str(killed) not in children()
        loop.set_default_executor(ThreadPoolExecutor())


@pytest.mark.parametrize("count", [3, MANY])
@pytest.mark.parametrize("turns", [0, 1])
async def test_a_caller_that_leaves_takes_nothing_from_the_others(ready: Verifying, count: int, turns: int) -> None:
    waiting = [ready.check(*GOOD) for _ in range(count)]
    for _ in range(turns):
        await asyncio.sleep(0)
    left = [waiting[place].cancel() for place in range(0, count, 3)]
    answers = await asyncio.wait_for(asyncio.gather(*waiting, return_exceptions=True), 10)
    assert sum(answer is not True for answer in answers) == sum(left)


async def test_closing_answers_who_still_waits(ready: Verifying) -> None:
    waiting = [ready.check(*GOOD) for _ in range(600)]
    await asyncio.sleep(0)
    await ready.close()
    assert await asyncio.wait_for(asyncio.gather(*waiting), 10) == [True] * 600


def test_a_batch_is_read_as_it_was_packed() -> None:
    checks = [GOOD, *(flaw for flaw in FLAWS if len(flaw.key) == verifier.KEY_BYTES)]
    assert list(unpack(pack(checks)[4:])) == checks


def test_a_verifier_ends_with_its_worker_and_not_before() -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        command = [sys.executable, "-m", verifier.__name__, str(theirs.fileno())]
        process = subprocess.Popen(command, pass_fds=[theirs.fileno()], stderr=subprocess.PIPE)
    with ours:
        ours.settimeout(20)
        assert ours.recv(9) == b"\1"
        for sign in (signal.SIGTERM, signal.SIGINT):  # a service that is stopped goes on with what it has
            process.send_signal(sign)
        ours.sendall(pack([GOOD, FLAWS[0], GOOD]))
        assert ours.recv(9) == b"\1\0\1"
        ours.sendall(pack([GOOD])[:20])
    _, errors = process.communicate(timeout=20)
    assert (process.returncode, errors) == (0, b"")


async def test_webhooks_that_come_many_at_a_time_are_each_answered_for_their_own_signature(service: Service) -> None:
    before = count(CHECKED_BESIDE)
    forger = Signer()

    async def post(number: int) -> int:
        document = event("call.answered", connection_id="1001", call_session_id=f"s{number}")
        signer = forger if number % 3 == 0 else service.signer
        return (await service.post(body_of(document), signer=signer)).status

    async def used() -> bool:
        answers = await asyncio.gather(*(post(number) for number in range(60)))
        assert answers == [401 if number % 3 == 0 else 200 for number in range(60)]
        return count(CHECKED_BESIDE) > before

    await until(used, seconds=30)
    sessions = {
        int(document["_id"]["stream"][9:]) async for document in service.database["events"].find({}, {"_id": 1})
    }
    assert sessions == {number for number in range(60) if number % 3}
