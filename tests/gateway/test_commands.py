from __future__ import annotations

import asyncio
import io
import json
from typing import Any

import pytest
from click.testing import CliRunner, Result
from gateway_factories import OVERVIEW, Clock, Gateway, RunGateway

from voice_common.cli import main
from voice_common.identity import new_key_pair
from voice_common.mongo import Database
from voice_common.store.tenants import TenantStore
from voice_gateway import deletion
from voice_gateway.audit import token_changed
from voice_gateway.commands import tenants
from voice_gateway.deletion import COLLECTIONS
from voice_local.servers import Server

KEY = new_key_pair()[1]


class Voice:
    """The `voice` command on the test's own database, in a thread of its own: it has a loop of its own."""

    def __init__(self, environment: dict[str, str]) -> None:
        self._environment = environment

    async def __call__(self, *words: str) -> Result:
        runner = CliRunner()
        return await asyncio.to_thread(runner.invoke, main, list(words), env=self._environment)

    async def json(self, *words: str) -> Any:
        result = await self(*words, "--json")
        assert result.exit_code == 0, result.output
        # The gateway of the test logs to the same standard output while a command runs.
        return json.loads("\n".join(line for line in result.stdout.splitlines() if not line.startswith("20")))


@pytest.fixture
def voice(mongo_server: Server, database: Database, monkeypatch: pytest.MonkeyPatch) -> Voice:
    monkeypatch.delenv("VOICE_DATA_DIR", raising=False)
    monkeypatch.setattr(tenants, "DIRECTORY_MAX_AGE", 0.0)
    monkeypatch.setattr(deletion, "DIRECTORY_MAX_AGE", 0.0)
    monkeypatch.setattr(deletion, "MAX_AGE", 0.0)
    monkeypatch.setattr(deletion, "LONGEST_WRITE", 0.0)
    return Voice({"VOICE_MONGO_URL": mongo_server.url, "VOICE_MONGO_DATABASE": database.name})


async def test_a_tenant_is_created_shown_listed_and_changed(voice: Voice) -> None:
    made = await voice.json(
        "tenant", "create", "acme", "--name", "Acme Inc", "--connection-id", "123", "--connection-id", "456",
        "--number", "+1 (312) 555-0100", "--assistant-id", "assistant-1", "--telnyx-public-key", KEY,
        "--limit", "analytics=600", "--limit", "recordings=5", "--retain", "events=30", "--retain", "conversations=90",
    )  # fmt: skip
    assert {**made, "silent_claims": []} == await voice.json("tenant", "show", "acme")
    assert [made] == await voice.json("tenant", "list")
    created_at = made.pop("created_at")
    assert created_at.endswith("Z")
    assert made == {
        "id": "acme", "name": "Acme Inc", "connection_ids": ["123", "456"], "numbers": ["+13125550100"],
        "assistant_ids": ["assistant-1"], "telnyx_public_keys": [KEY],
        "limits": {"analytics": 600, "recordings": 5, "conversations": 120},
        "retention": {"partials": 7, "events": 30, "conversations": 90},
    }  # fmt: skip
    changed = await voice.json(
        "tenant", "update", "acme", "--number", "+13125550101", "--remove", "123", "--remove", "+1 312 555 0100",
        "--remove", KEY, "--remove", "recordings", "--limit", "analytics=7", "--name", "New",
        "--retain", "events=forever", "--retain", "partials=1",
    )  # fmt: skip
    assert (changed["connection_ids"], changed["numbers"]) == (["456"], ["+13125550101"])
    assert (changed["telnyx_public_keys"], changed["name"]) == ([], "New")
    assert changed["limits"] == {"analytics": 7, "recordings": 30, "conversations": 120}
    assert changed["retention"] == {"partials": 1, "events": None, "conversations": 90}
    shown = (await voice("tenant", "show", "acme")).stdout
    assert "forever" in shown
    assert "90 days" in shown
    for words in (["tenant", "list"], ["tenant", "show", "acme"]):
        result = await voice(*words)
        assert result.exit_code == 0
        assert "New" in result.stdout


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["tenant", "create", "acme"], "exists already"),
        (["tenant", "create", "Not An Id"], "A tenant id is"),
        (["tenant", "create", "b", "--connection-id", "123"], "The connection 123 is claimed by another tenant; "),
        (["tenant", "create", "b", "--limit", "analytics=0"], "1 to 1000000 requests a minute"),
        (["tenant", "create", "b", "--limit", "other=5"], "is no area"),
        (["tenant", "create", "b", "--retain", "events=0"], "1 to 36500 whole days, or forever"),
        (["tenant", "create", "b", "--retain", "events=1.5"], "1 to 36500 whole days, or forever"),
        (["tenant", "create", "b", "--retain", "tokens=3"], "is nothing that is kept"),
        (["tenant", "create", "b", "--telnyx-public-key", "abc"], "base64 of 32 bytes"),
        (["tenant", "show", "nobody"], "There is no tenant nobody"),
        (["tenant", "update", "acme", "--remove", "zzz"], "has no zzz"),
        (["tenant", "update", "nobody", "--name", "N"], "There is no tenant nobody"),
        (["tenant", "update", "acme"], "Nothing is to be changed; say what, as voice tenant update acme --help tells"),
        (["tenant", "delete", "nobody"], "There is no tenant nobody"),
        (["token", "issue", "nobody"], "There is no tenant nobody"),
        (["token", "issue", "acme", "--scope", "all"], "is not one of"),
        (["token", "issue", "acme", "--expires-in", "soon"], "is no duration"),
        (["token", "revoke", "0000000000000000"], "There is no such token"),
        (["token", "revoke", '{"$ne": 1}'], "There is no such token"),
    ],
)
async def test_what_can_not_be_done_is_one_sentence(
    voice: Voice, database: Database, words: list[str], sentence: str
) -> None:
    await voice("tenant", "create", "acme", "--connection-id", "123")
    result = await voice(*words)
    assert result.exit_code != 0
    assert sentence in result.stderr
    assert "Traceback" not in result.output
    assert [tenant.id for tenant in await TenantStore(database).list()] == ["acme"]


async def test_a_token_is_shown_once_listed_without_its_text_and_revoked(
    voice: Voice, run_gateway: RunGateway, clock: Clock
) -> None:
    await voice("tenant", "create", "acme")
    async with run_gateway() as gateway:
        plain = await voice("token", "issue", "acme")
        (secret,) = [line for line in plain.stdout.splitlines() if line.startswith("vst_")]
        assert (await gateway.get(OVERVIEW, secret)).status == 200
        made = await voice.json(
            "token", "issue", "acme", "--name", "n", "--scope", "recordings:read", "--expires-in", "12h"
        )
        assert set(made) >= {"token", "id", "tenant", "name", "scopes", "expires_at"}
        assert (made["name"], made["scopes"]) == ("n", ["recordings:read"])
        assert (await gateway.get("/api/voice/recordings/x", made["token"])).status == 200
        listed = await voice.json("token", "list", "acme")
        assert [each["id"] for each in listed][1] == made["id"]
        for words in (["token", "list"], ["token", "list", "--json"]):
            assert "vst_" not in (await voice(*words)).output
        revoked = await voice.json("token", "revoke", made["id"])
        assert revoked["revoked_at"] is not None
        clock.ahead += 4
        assert (await gateway.get("/api/voice/recordings/x", made["token"])).status == 401
        assert (await gateway.get(OVERVIEW, secret)).status == 200


async def test_each_token_change_is_one_log_line_without_the_token(voice: Voice) -> None:
    await voice("tenant", "create", "acme")
    issued = await voice("token", "issue", "acme", "--json")
    made = json.loads(issued.stdout)
    (line,) = issued.stderr.strip().splitlines()
    assert {"event": "token changed", "change": "issued", "tenant": "acme", "token": made["id"]}.items() <= json.loads(
        line
    ).items()
    assert made["token"] not in line
    (line,) = (await voice("token", "revoke", made["token"])).stderr.strip().splitlines()
    assert json.loads(line)["change"] == "revoked"


@pytest.mark.parametrize("terminal", [True, False])
def test_a_terminal_is_spared_the_log_line_of_a_token(monkeypatch: pytest.MonkeyPatch, *, terminal: bool) -> None:
    seen = io.StringIO()
    monkeypatch.setattr(seen, "isatty", lambda: terminal)
    monkeypatch.setattr("sys.stderr", seen)
    token_changed("issued", "acme", "0123")
    assert ("token changed" in seen.getvalue()) is not terminal


async def test_deleting_a_tenant_deletes_its_data_and_frees_its_id(
    voice: Voice, database: Database, gateway: Gateway, clock: Clock
) -> None:
    for tenant, connection in (("acme", "1"), ("other", "2")):
        await voice("tenant", "create", tenant, "--connection-id", connection)
    token = (await voice.json("token", "issue", "acme"))["token"]
    assert (await gateway.get(OVERVIEW, token)).status == 200
    for name in COLLECTIONS:
        await database[name].insert_many(
            [{"_id": {"tenant": tenant, "n": n}} for tenant in ("acme", "other") for n in range(1500)]
        )
    deleted = await voice.json("tenant", "delete", "acme")
    assert deleted == {"id": "acme", "deleted": True, "documents": 1500 * len(COLLECTIONS)}
    for name in COLLECTIONS:
        left = await database[name].distinct("_id.tenant")
        assert left == ["other"], name
    clock.ahead += 4
    assert (await gateway.get(OVERVIEW, token)).status == 401
    again = await voice.json("tenant", "create", "acme", "--connection-id", "1")
    assert again["connection_ids"] == ["1"]
    assert (await gateway.get(OVERVIEW, token)).status == 401
    assert await voice.json("token", "list", "acme") == []


async def test_what_is_written_behind_a_deletions_sweep_is_gone_before_the_id_is_free(
    voice: Voice, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    await voice("tenant", "create", "acme")
    for name in COLLECTIONS:
        await database[name].insert_one({"_id": {"tenant": "acme", "n": 1}})
    delete_batches, late = deletion._delete_batches, list(COLLECTIONS)

    async def and_then_the_last_write(database: Database, name: str, tenant: str, progress: Any) -> int:
        deleted = await delete_batches(database, name, tenant, progress)
        if not deleted and name == COLLECTIONS[-1]:  # nothing is found any more: the sweep is over
            while late:
                await database[late.pop()].insert_one({"_id": {"tenant": "acme", "n": 2}})
        return deleted

    monkeypatch.setattr(deletion, "_delete_batches", and_then_the_last_write)
    assert (await voice.json("tenant", "delete", "acme"))["documents"] == 2 * len(COLLECTIONS)
    assert [name for name in COLLECTIONS if await database[name].find_one({"_id.tenant": "acme"})] == []


async def test_a_deletion_that_was_interrupted_keeps_the_id_and_can_be_repeated(
    voice: Voice, database: Database
) -> None:
    await voice("tenant", "create", "acme")
    await TenantStore(database).mark_deleted("acme")
    taken = await voice("tenant", "create", "acme")
    assert "exists already, or is deleted" in taken.stderr
    assert (await voice("tenant", "delete", "acme")).exit_code == 0
    assert (await voice("tenant", "create", "acme")).exit_code == 0


async def test_help_has_examples(voice: Voice) -> None:
    for words in ("tenant create", "tenant update", "tenant delete", "token issue", "token list", "token revoke"):
        result = await voice(*words.split(), "--help")
        assert "Example" in result.output
        assert f"voice {words}" in result.output
