"""Commands on a store that does not answer: a sentence soon, that says what to do."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import pytest
from voice_command import Voice

from voice_common.cli import doctor, store

PATIENT = 100
"""Seconds that a command's work may take: nobody may wait for that where no store is."""


@pytest.fixture(params=["refuses", "hangs"])
def dead(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Voice]:
    """Give the command before a store that refuses connections, or takes them and says nothing."""
    monkeypatch.setattr(store, "_STORE_SECONDS", PATIENT)
    monkeypatch.setattr(doctor, "_STORE_SECONDS", PATIENT)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        if request.param == "refuses":
            listener.close()
        yield Voice({"VOICE_MONGO_URL": f"mongodb://127.0.0.1:{port}/?replicaSet=rs0"})


@pytest.mark.parametrize(
    "words",
    [
        ("tenant", "list"), ("tenant", "show", "acme"), ("tenant", "create", "acme"), ("token", "list"),
        ("token", "issue", "acme"), ("events", "list", "acme"), ("events", "quarantine"), ("rebuild",),
        ("admin", "init-db"),
    ],
)  # fmt: skip
async def test_a_command_says_soon_that_the_store_does_not_answer(dead: Voice, words: tuple[str, ...]) -> None:
    started = time.monotonic()
    said = await dead.refused(*words)
    assert time.monotonic() - started < PATIENT / 2
    assert said.startswith("voice: MongoDB can't be used (ServerSelectionTimeoutError)")
    assert said.endswith("voice doctor")


async def test_the_doctor_says_soon_that_the_store_does_not_answer(dead: Voice) -> None:
    started = time.monotonic()
    found = await dead.json("doctor", "--service", "recordings", exit_code=1)
    assert time.monotonic() - started < PATIENT / 2
    assert "does not answer" in str(found)


def test_a_store_has_two_seconds_to_answer() -> None:
    assert store.REACHED_SECONDS == 2.0
