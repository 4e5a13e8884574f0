from __future__ import annotations

import asyncio
import os
import pty
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from telnyx_factories import KEY, Telnyx, running_telnyx
from voice_command import Voice

from voice_common.identity import new_key_pair
from voice_common.mongo import Database
from voice_common.store.tenants import TenantStore
from voice_local.servers import Server
from voice_webhooks.telnyx_api import TelnyxApi
from voice_webhooks.webhook_urls import WrongUrlError, webhook_url

HOST = "https://127.0.0.1:1"  # nobody listens there
OURS = f"{HOST}/api/webhooks/telnyx/voice"
PUBLIC_KEY = new_key_pair()[1]


@pytest.fixture
async def telnyx() -> AsyncIterator[Telnyx]:
    async with running_telnyx() as running:
        yield running


@pytest.fixture
def voice(telnyx: Telnyx, mongo_server: Server, database: Database) -> Voice:
    return Voice(
        {
            "VOICE_MONGO_URL": mongo_server.url,
            "VOICE_MONGO_DATABASE": database.name,
            "VOICE_TELNYX_API_KEY": KEY,
            "VOICE_TELNYX_API_URL": telnyx.url,
            "VOICE_TELNYX_PUBLIC_KEYS": PUBLIC_KEY,
        }
    )


async def test_an_application_is_configured_with_what_it_has_kept(telnyx: Telnyx, voice: Voice) -> None:
    telnyx.add("1001", application_name="front desk")
    done = await voice.json("telnyx", "configure", "1001", "--url", HOST, "--yes")
    assert telnyx.patched == [
        {
            "application_name": "front desk",
            "webhook_event_url": OURS,
            "webhook_api_version": "2",
        }
    ]
    assert done["changed"] == {
        "url": {"from": "https://example.com", "to": OURS},
        "api_version": {"from": "1", "to": "2"},
    }
    assert telnyx.applications["1001"]["webhook_timeout_secs"] == 25
    again = await voice("telnyx", "configure", "1001", "--url", HOST)
    assert again.exit_code == 0, again.output
    assert f"already sends its webhooks to {OURS}" in again.stdout
    assert len(telnyx.patched) == 1, "what is right is not written again"


async def test_a_failover_url_is_set_or_stays(telnyx: Telnyx, voice: Voice) -> None:
    telnyx.add("1001", webhook_event_failover_url="https://old.example.com/x")
    await voice.json("telnyx", "configure", "1001", "--url", HOST, "--yes")
    assert telnyx.applications["1001"]["webhook_event_failover_url"] == "https://old.example.com/x"
    await voice.json("telnyx", "configure", "1001", "--url", HOST, "--failover-url", "https://b.example.com", "--yes")
    wanted = "https://b.example.com/api/webhooks/telnyx/voice"
    assert telnyx.applications["1001"]["webhook_event_failover_url"] == wanted


async def test_the_difference_is_shown_and_nothing_changes_unasked(telnyx: Telnyx, voice: Voice) -> None:
    telnyx.add("1001")
    result = await voice("telnyx", "configure", "1001", "--url", HOST)
    assert result.exit_code == 1
    assert "https://example.com" in result.stdout
    assert OURS in result.stdout
    assert "say --yes" in result.stderr
    assert telnyx.patched == []


def in_terminal(environment: dict[str, str], words: list[str], answers: list[tuple[str, str]]) -> tuple[str, int]:
    """Run a command in a terminal, and answer what it asks; give all that was to be seen, and the exit code."""
    program = str(Path(sys.executable).with_name("voice"))
    terminal, theirs = pty.openpty()
    process = subprocess.Popen(
        [program, *words], stdin=theirs, stdout=theirs, stderr=theirs, env=environment, start_new_session=True
    )
    os.close(theirs)
    seen = ""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            read = os.read(terminal, 4096)
        except OSError:  # the other end is closed
            break
        seen += read.decode(errors="replace")
        if answers and answers[0][0] in seen:
            os.write(terminal, answers.pop(0)[1].encode() + b"\n")
    os.close(terminal)
    return seen, process.wait(10)


@pytest.mark.parametrize(("answer", "changed"), [("y", 1), ("n", 0)])
async def test_a_person_is_asked_for_the_key_and_for_consent(
    telnyx: Telnyx, voice: Voice, answer: str, changed: int
) -> None:
    telnyx.add("1001")
    kept = {name: value for name, value in {**os.environ, **voice.environment}.items() if value is not None}
    del kept["VOICE_TELNYX_API_KEY"]
    words = ["telnyx", "configure", "1001", "--url", HOST]
    answers = [("Telnyx API key", KEY), ("Change it at Telnyx?", answer)]
    seen, code = await asyncio.to_thread(in_terminal, kept, words, answers)
    assert (len(telnyx.patched), code) == (changed, 0 if changed else 1), seen
    assert KEY not in seen
    assert answers == []


@pytest.mark.parametrize(
    ("status", "headers", "sentence"),
    [
        (403, {}, "may not use the application 1001 (403: no)"),
        (404, {}, "Telnyx has not the application 1001 (404); list the applications with: voice telnyx check"),
        (422, {}, "refuses the request (422: /webhook_event_url: no)"),
        (429, {"Retry-After": "17"}, "(429); try again in 17 s"),
        (429, {}, "try again in a minute"),
        (503, {}, "Telnyx failed (503); try again"),
        (302, {"Location": "https://elsewhere.example.com"}, "Telnyx answered 302"),
    ],
)
async def test_a_refusal_is_one_sentence_that_says_what_to_do(
    telnyx: Telnyx, voice: Voice, status: int, headers: dict[str, str], sentence: str
) -> None:
    telnyx.refuse = (status, "no", headers)
    said = await voice.refused("telnyx", "configure", "1001", "--url", HOST, "--yes")
    assert sentence in said
    assert len(said.splitlines()) == 1
    assert KEY not in said


async def test_a_wrong_key_is_said_and_never_shown(telnyx: Telnyx, voice: Voice) -> None:
    voice.environment["VOICE_TELNYX_API_KEY"] = "KEYwrong_secret"
    said = await voice.refused("telnyx", "check")
    assert "Telnyx refuses the API key (401)" in said
    assert "KEYwrong" not in said
    voice.environment["VOICE_TELNYX_API_KEY"] = "KEY with\nlines"
    assert "characters that no key has" in await voice.refused("telnyx", "check")
    voice.environment["VOICE_TELNYX_API_KEY"] = ""
    assert "set VOICE_TELNYX_API_KEY" in await voice.refused("telnyx", "check")
    assert len(telnyx.asked) == 1


async def test_a_telnyx_that_does_not_answer_is_said(
    telnyx: Telnyx, voice: Voice, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(TelnyxApi.__init__.__kwdefaults__ or {}, "seconds", 0.1)
    telnyx.delay = 1
    assert "did not answer within 0.1 s" in await voice.refused("telnyx", "check")
    voice.environment["VOICE_TELNYX_API_URL"] = "http://127.0.0.1:1/v2"
    assert "can't be reached at http://127.0.0.1:1/v2" in await voice.refused("telnyx", "check")


async def test_the_key_is_sent_in_the_clear_to_this_machine_alone(voice: Voice) -> None:
    voice.environment["VOICE_TELNYX_API_URL"] = "http://api.example.com/v2"
    assert "must be https" in await voice.refused("telnyx", "check", exit_code=2)


async def test_a_change_that_telnyx_does_not_make_is_noticed(telnyx: Telnyx, voice: Voice) -> None:
    telnyx.add("1001")
    telnyx.ignores_changes = True
    said = await voice.refused("telnyx", "configure", "1001", "--url", HOST, "--yes")
    assert "shows another webhook URL, API version" in said


async def test_all_applications_are_listed_over_all_pages(telnyx: Telnyx, voice: Voice) -> None:
    for number in range(300):
        telnyx.add(f"{number}")
    listed = await voice.json("telnyx", "check")
    assert [each["id"] for each in listed["applications"]] == [str(number) for number in range(300)]
    assert listed["applications"][0]["webhook_event_failover_url"] is None


async def test_a_check_finds_what_keeps_webhooks_away(telnyx: Telnyx, voice: Voice, tenants: TenantStore) -> None:
    assert tenants
    telnyx.add("1001", active=False, webhook_event_failover_url="http://x.example.com")
    telnyx.public_key = new_key_pair()[1]
    found = await voice.json("telnyx", "check", "1001", exit_code=1)
    outcomes = {each["check"]: each["outcome"] for each in found["findings"]}
    assert outcomes == {
        "active": "failed", "API version": "failed", "webhook URL": "failed", "failover URL": "failed",
        "public key": "failed", "tenant": "ok",
    }  # fmt: skip
    advices = {each["check"]: each["advice"] for each in found["findings"]}
    assert advices["public key"] == f"set VOICE_TELNYX_PUBLIC_KEYS={telnyx.public_key} for the webhooks service"
    assert "voice telnyx configure 1001 --url" in advices["API version"]
    telnyx.add("1002", webhook_event_url=OURS, webhook_api_version="2")
    telnyx.public_key = PUBLIC_KEY
    found = await voice.json("telnyx", "check", "1002")
    outcomes = {each["check"]: each["outcome"] for each in found["findings"]}
    assert outcomes == {
        "active": "ok", "API version": "ok", "webhook URL": "warning", "failover URL": "ok", "public key": "ok",
        "tenant": "warning",
    }  # fmt: skip
    shown = await voice("telnyx", "check", "1002")
    assert "can't be reached from here" in shown.stdout
    telnyx.public_key = None
    assert "by hand" in (await voice("telnyx", "check", "1002")).stdout
    assert "is no application's id" in await voice.refused("telnyx", "check", "../../balance")


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("https://voice.example.com", "https://voice.example.com/api/webhooks/telnyx/voice"),
        ("https://Voice.example.com:8443/", "https://voice.example.com:8443/api/webhooks/telnyx/voice"),
        ("https://[::1]:8443", "https://[::1]:8443/api/webhooks/telnyx/voice"),
        (
            "https://a.b/api/webhooks/telnyx/voice/conversational-ai",
            "https://a.b/api/webhooks/telnyx/voice/conversational-ai",
        ),
    ],
)
def test_the_path_of_the_webhooks_is_added_to_a_host(text: str, url: str) -> None:
    assert webhook_url(text) == url


@pytest.mark.parametrize(
    "text",
    ["http://a.b", "a.b", "https://", "https://a.b/hooks", "https://u:p@a.b", "https://a.b?x=1", "https://a.b:x"],
)
async def test_a_url_where_no_webhook_would_arrive_is_wrong_usage(voice: Voice, telnyx: Telnyx, text: str) -> None:
    with pytest.raises(WrongUrlError):
        webhook_url(text)
    await voice.refused("telnyx", "configure", "1001", "--url", text, exit_code=2)
    assert telnyx.asked == []
