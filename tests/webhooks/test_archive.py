from __future__ import annotations

import gzip
import json
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from voice_command import Voice
from webhooks_factories import T0, Service, Signer, body_of, event, start_service, until

from voice_common.mongo import Database
from voice_common.store.tenants import TenantStore
from voice_local.servers import Server
from voice_webhooks.archive import restore
from voice_webhooks.projection.projection import Projection
from voice_webhooks.quarantine import Quarantine
from voice_webhooks.workers import WorkerStore

MODELS = ("conversations", "parked", "aliases")
KEPT = (*MODELS, "events", "tenants", "claims", "api_tokens", "quarantine")
DAY = 86_400_000


@pytest.fixture
def voice(mongo_server: Server, database: Database, monkeypatch: pytest.MonkeyPatch) -> Voice:
    monkeypatch.setattr(restore, "DIRECTORY_MAX_AGE", 0.0)
    return Voice({"VOICE_MONGO_URL": mongo_server.url, "VOICE_MONGO_DATABASE": database.name})


async def contents(database: Database) -> dict[str, list[dict[str, Any]]]:
    """Give all that an export and a rebuild must bring back; who stored an event is not among it."""
    found = {name: await database[name].find({}).sort("_id", 1).to_list() for name in KEPT}
    for document in found["events"]:
        del document["worker"], document["seq"]
    return found


async def received(service: Service, calls: int = 6) -> None:
    """Have calls with parked events and partial transcripts, some events in quarantine, and a token."""
    partial = {"transcript": "he", "is_final": False, "transcription_track": "inbound"}
    for number in range(calls):
        ids = {"connection_id": "1001", "call_session_id": f"s{number}", "call_leg_id": f"l{number}"}
        at = T0 + number * DAY
        for document in (
            event("call.hangup", at + 8, connection_id="1001", call_leg_id=f"l{number}"),
            event("call.initiated", at, **ids),
            event("call.answered", at + 5, call_control_id=f"c{number}", **ids),
            event("call.transcription", at + 6, transcription_data=partial, **ids),
            event("call.cost", at + 9, connection_id="1001", call_control_id=f"lone{number}", note="Grüße\u0000"),
        ):
            await service.deliver(document)
    await service.deliver(event("call.initiated", T0, connection_id="9", call_session_id="q"))
    assert (await service.post(b"\xff\xfe no JSON")).status == 400
    token = {"tenant": "acme", "name": "n", "scopes": ["analytics:read"], "created_at": T0, "revoked_at": None}
    await service.database["api_tokens"].insert_one({"_id": "ab" * 32, "expires_at": T0 + 1, **token})

    async def projected() -> bool:
        database = service.database
        ended = await database["conversations"].count_documents({"phase": "completed"})
        return ended == calls and await database["parked"].count_documents({}) == 2 * calls

    await until(projected)


async def wipe(database: Database) -> None:
    for name in await database.list_collection_names():
        await database[name].drop()


@pytest.mark.parametrize("name", ["all.ndjson", "all.ndjson.gz"])
async def test_an_export_brings_everything_back_document_for_document(
    database: Database,
    mongo_server: Server,
    tenants: TenantStore,
    signer: Signer,
    voice: Voice,
    tmp_path: Path,
    name: str,
) -> None:
    await tenants.replace(await tenants.get("acme"))
    service, stop = await start_service(database, mongo_server.url, signer)
    await received(service)
    await stop()
    before = await contents(database)
    file = tmp_path / name
    written = await voice.json("events", "export", str(file), "--with-tenants")
    assert (written["events"], written["lines"], written["incomplete"]) == (30, 30 + 1 + 1 + 2, [])
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [each.name for each in tmp_path.iterdir()] == [name]

    await wipe(database)
    assert await voice.json("events", "import", str(file)) == {
        "events": 30, "tenants": 1, "tokens": 1, "quarantined": 2, "skipped": 0, "bad": 0, "errors": [],
        "failure": None,
    }  # fmt: skip
    assert await contents(database) == before, "what is imported is projected"
    assert await database["workers"].count_documents({}) == 0
    for model in MODELS:
        await database[model].delete_many({})
    await voice.json("rebuild")
    assert await contents(database) == before

    again = await voice.json("events", "import", str(file))
    assert (again["events"], again["skipped"], again["bad"]) == (0, 34, 0)
    assert await contents(database) == before
    assert json.loads((await voice("events", "export", "--with-tenants", "--json")).stdout)["events"] == 30


async def test_the_reason_of_a_quarantined_body_travels_with_it(
    database: Database, voice: Voice, tmp_path: Path
) -> None:
    """A body that only this reason keeps from being projected must not wait for a tenant where it is imported."""
    body = body_of(event("call.initiated", connection_id="9", call_session_id="deep"))
    await Quarantine(database).keep(body, Signer().public_key, None, "its JSON is nested too deep", received_at=T0)
    before = await contents(database)
    file = tmp_path / "all.ndjson"
    await voice.json("events", "export", str(file), "--with-tenants")
    await wipe(database)
    assert (await voice.json("events", "import", str(file)))["quarantined"] == 1
    assert await contents(database) == before


async def test_a_bad_line_is_told_by_its_number_and_the_others_are_stored(
    service: Service, database: Database, voice: Voice, tmp_path: Path
) -> None:
    await received(service, 1)
    exported = (await voice("events", "export", "--tenant", "acme")).stdout.splitlines()
    lines = [json.loads(line) for line in exported]
    assert len(lines) == 5
    bad: list[tuple[Callable[[dict[str, Any]], object], str]] = [
        (lambda line: line.update(stream="session:other"), "stream is not what the body says"),
        (lambda line: line.update(occurred_at="2025-01-01T00:00:00Z"), "occurred_at is not what the body says"),
        (lambda line: line.update(tenant="nobody"), "there is no tenant nobody"),
        (lambda line: line.update(key="abc"), "base64 of 32 raw bytes"),
        (lambda line: line.update(body="{"), "not JSON"),
        (lambda line: line.update(more=1), "more"),
        (lambda line: line.update(kind="thing"), "of no kind"),
        (lambda line: line.pop("body"), "body or body_base64"),
        (lambda line: line.update(received_at=5), "RFC 3339"),
    ]
    texts: list[str] = [exported[0], "", "no JSON"]
    for change, _ in bad:
        line = json.loads(exported[1])
        change(line)
        texts.append(json.dumps(line))
    texts += exported[2:]
    file = tmp_path / "some.ndjson"
    file.write_text("\n".join(texts))
    await database["events"].delete_many({})
    report = await voice.json("events", "import", str(file), exit_code=1)
    assert (report["events"], report["bad"]) == (4, 1 + len(bad))
    assert [each["line"] for each in report["errors"]] == list(range(3, 4 + len(bad)))
    assert "not JSON" in report["errors"][0]["error"]
    for each, (_, reason) in zip(report["errors"][1:], bad, strict=True):
        assert reason in each["error"]
    said = await voice("events", "import", str(file))
    assert said.exit_code == 1
    assert "line 3: it is not JSON" in said.stderr


async def test_what_an_interrupted_import_stored_is_projected_by_the_service(
    service: Service, database: Database, voice: Voice, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await received(service, 2)
    before = await contents(database)
    file = tmp_path / "all.ndjson"
    await voice.json("events", "export", str(file))
    for name in (*MODELS, "events"):
        await database[name].delete_many({})
    project = Projection.project

    async def failing(_self: Projection, _events: Any) -> None:
        monkeypatch.setattr(Projection, "project", project)
        raise KeyboardInterrupt

    monkeypatch.setattr(Projection, "project", failing)
    assert (await voice("events", "import", str(file))).exit_code == 1
    assert len(await WorkerStore(database).ended()) == 1, "nobody has to wait for the end of its lease"

    async def equal() -> bool:
        return await contents(database) == before

    await until(equal)
    again = await voice.json("events", "import", str(file))
    assert (again["events"], again["skipped"]) == (0, 10)


async def test_a_service_that_runs_shows_what_is_imported(service: Service, database: Database, voice: Voice) -> None:
    await received(service, 1)
    exported = await voice("events", "export", "--tenant", "acme", "-")
    for name in (*MODELS, "events"):
        await database[name].delete_many({})
    imported = await voice("events", "import", "-", stdin=exported.stdout_bytes)
    assert imported.exit_code == 0, imported.output
    assert await service.conversation("s0") is not None


async def test_a_range_of_a_tenants_events_is_exported_alone(service: Service, voice: Voice, tmp_path: Path) -> None:
    await received(service)
    file = tmp_path / "part.ndjson"
    words = ["--tenant", "acme", "--since", "2025-01-16", "--until", "2025-01-17"]
    written = await voice.json("events", "export", str(file), *words)
    assert (written["events"], written["lines"]) == (10, 10)
    days = {json.loads(line)["occurred_at"][:10] for line in file.read_text().splitlines()}
    assert days == {"2025-01-16", "2025-01-17"}


async def test_a_file_that_is_cut_off_says_so_and_keeps_what_it_has(
    service: Service, database: Database, voice: Voice, tmp_path: Path
) -> None:
    await received(service, 1)
    file = tmp_path / "all.ndjson.gz"
    await voice.json("events", "export", str(file))
    whole = gzip.decompress(file.read_bytes())
    file.write_bytes(gzip.compress(whole + b"{" * 500_000)[:-200])
    await database["events"].delete_many({})
    report = await voice.json("events", "import", str(file), exit_code=1)
    assert "cut off after line" in report["failure"]


async def test_what_an_export_lacks_is_said(service: Service, database: Database, voice: Voice, tmp_path: Path) -> None:
    await received(service, 1)
    await database["horizons"].insert_one({"_id": {"tenant": "acme"}, "events_gone_before": T0})
    said = await voice("events", "export", str(tmp_path / "all.ndjson"), "--with-tenants")
    assert said.exit_code == 0
    assert "a retention deleted events or calls of acme" in said.stderr


async def test_an_export_that_fails_leaves_what_was_there(
    service: Service, voice: Voice, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await received(service, 1)
    file = tmp_path / "all.ndjson"
    file.write_text("before")

    async def failing(_self: Any) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("voice_webhooks.archive.export.Export.count", failing)
    assert "No space left on device" in await voice.refused("events", "export", str(file))
    assert [each.name for each in tmp_path.iterdir()] == ["all.ndjson"]
    assert file.read_text() == "before"
    missing = await voice.refused("events", "import", str(tmp_path / "none.ndjson"))
    assert "can't be read: No such file" in missing
    assert "There is no tenant nobody" in await voice.refused("events", "export", "--tenant", "nobody")


async def test_a_claim_that_somebody_else_has_is_a_bad_line(
    tenants: TenantStore, database: Database, voice: Voice, tmp_path: Path
) -> None:
    file = tmp_path / "all.ndjson"
    await voice.json("events", "export", str(file), "--with-tenants")
    acme = await tenants.get("acme")
    await wipe(database)
    line = json.loads(file.read_text())
    other = {**line, "id": "other"}
    file.write_text(f"{json.dumps(other)}\n{json.dumps(line)}\n")
    report = await voice.json("events", "import", str(file), exit_code=1)
    assert report["tenants"] == 1
    assert report["errors"] == [{"line": 2, "error": "The connection 1001 is claimed by another tenant"}]
    assert (await tenants.get("other")).created_at == acme.created_at


async def test_a_line_is_refused_before_it_is_too_long_to_hold(
    voice: Voice, tenants: TenantStore, tmp_path: Path
) -> None:
    assert tenants
    file = tmp_path / "long.ndjson"
    file.write_bytes(b"x" * (33 * 1024 * 1024) + b"\n" + body_of({"kind": "thing"}) + b"\n")
    report = await voice.json("events", "import", str(file), exit_code=1)
    assert [each["line"] for each in report["errors"]] == [1, 2]
    assert "longer than" in report["errors"][0]["error"]
