from __future__ import annotations

import base64
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from voice_command import Voice
from webhooks_factories import T0, Service, event, until

from voice_common.identity import new_key_pair
from voice_common.mongo import Database
from voice_common.times import now_ms
from voice_local.servers import Server
from voice_webhooks.checks import INDEXES
from voice_webhooks.key_forms import misread_key
from voice_webhooks.set_aside import CODE

SPKI = serialization.PublicFormat.SubjectPublicKeyInfo
KEY = new_key_pair()[1]
RAW = base64.b64decode(KEY)
PUBLIC = ed25519.Ed25519PublicKey.from_public_bytes(RAW)
PEM = PUBLIC.public_bytes(serialization.Encoding.PEM, SPKI).decode()
DER = base64.b64encode(PUBLIC.public_bytes(serialization.Encoding.DER, SPKI)).decode()
RSA = rsa.generate_private_key(65537, 1024).public_key().public_bytes(serialization.Encoding.PEM, SPKI).decode()  # noqa: S505 - no secret, and quick


@pytest.fixture
def voice(mongo_server: Server, database: Database) -> Voice:
    return Voice(
        {
            "VOICE_MONGO_URL": mongo_server.url,
            "VOICE_MONGO_DATABASE": database.name,
            "VOICE_IDENTITY_PUBLIC_KEYS": KEY,
            "VOICE_TELNYX_PUBLIC_KEYS": KEY,
        }
    )


async def found(voice: Voice, *, exit_code: int = 0) -> dict[str, tuple[str, str, str | None]]:
    """Run the checks of the webhooks service; give outcome, message and advice by the check's name."""
    document = await voice.json("doctor", "--service", "webhooks", exit_code=exit_code)
    return {each["check"]: (each["outcome"], each["message"], each["advice"]) for each in document["findings"]}


async def indexed(database: Database) -> bool:
    """Tell whether the service has made the index that it makes last."""
    return "by_version" in await database["parked"].index_information()


async def test_a_service_that_runs_has_nothing_to_complain_of(service: Service, voice: Voice) -> None:
    await service.status(event("call.initiated", connection_id="1001", call_session_id="s1"))
    await until(lambda: service.conversation("s1"))
    await until(lambda: indexed(service.database))
    checks = await found(voice)
    outcomes = {name: outcome for name, (outcome, _, _) in checks.items()}
    # The tests' replica set has one member.
    assert outcomes.pop("MongoDB replica set") == "warning"
    assert set(outcomes.values()) == {"ok"}, checks
    assert outcomes.keys() >= {
        "MongoDB", "MongoDB version", "MongoDB transactions", "MongoDB clock", "settings of webhooks", "Telnyx keys",
        "indexes of webhooks", "projection", "quarantine", "events set aside",
    }  # fmt: skip
    table = await voice("doctor", "--service", "webhooks")
    assert table.exit_code == 0
    assert "add members until there are 3" in table.stdout


async def test_the_indexes_looked_for_are_those_that_the_service_makes(service: Service) -> None:
    database = service.database
    await until(lambda: indexed(database))
    made = {
        name: set(await database[name].index_information()) - {"_id_"}
        for name in await database.list_collection_names()
    }
    made["events"].discard("by_receipt")  # there while a tenant has its events deleted
    assert {name: set(names) for name, names in INDEXES.items()} == {
        name: names for name, names in made.items() if names
    }


async def test_a_missing_index_is_named(service: Service, voice: Voice) -> None:
    await until(lambda: indexed(service.database))
    await service.database["conversations"].drop_index("by_start")
    outcome, message, advice = (await found(voice, exit_code=1))["indexes of webhooks"]
    assert (outcome, message) == ("failed", "missing: conversations.by_start")
    assert "voice admin init-db" in str(advice)


async def test_events_that_nobody_projects_are_noticed(database: Database, voice: Voice) -> None:
    await database["workers"].insert_many(
        [
            {"_id": "a", "checkpoint": 4, "seen": -1, "lease_until": None},
            {"_id": "b", "checkpoint": 0, "seen": 1, "lease_until": None},
        ]
    )
    stored = [("a", 4, 90_000), ("a", 5, 6_000), ("b", 1, 90_000)]  # of b all is projected
    await database["events"].insert_many(
        [{"_id": f"{worker}{seq}", "worker": worker, "seq": seq, "received_at": now_ms() - age}
         for worker, seq, age in stored]
    )  # fmt: skip
    outcome, message, _ = (await found(voice, exit_code=1))["projection"]
    assert outcome == "warning", message
    await database["events"].insert_one({"_id": "a6", "worker": "a", "seq": 6, "received_at": 0})
    await database["events"].update_one({"_id": "a5"}, {"$set": {"received_at": now_ms() - 60_000}})
    outcome, message, advice = (await found(voice, exit_code=1))["projection"]
    assert (outcome, message[:47]) == ("failed", "the oldest event that is not projected waits for"[:47])
    assert "voice events replay" in str(advice)


async def test_the_quarantine_and_what_is_set_aside_are_counted(service: Service, voice: Voice) -> None:
    for number in range(3):
        await service.status(event("call.initiated", T0, connection_id="9", call_session_id=f"s{number}"))
    assert (await service.post(b"no JSON")).status == 400
    await until(lambda: indexed(service.database))
    key = {"_id": {"tenant": "acme", "stream": "s", "event": "e"}}

    async def shown() -> Any:
        # Again where the worker's first look has let go of it: its event is not kept.
        await service.database["set_aside"].update_one(key, {"$set": {"code": CODE}}, upsert=True)
        checks = await found(voice)
        return checks if checks["events set aside"][0] == "warning" else None

    checks = await until(shown)
    outcome, message, advice = checks["quarantine"]
    assert (outcome, message.startswith("3 events wait for a tenant")) == ("warning", True)
    assert message.endswith("1 can't be read")
    assert "voice tenant update" in str(advice)
    assert checks["events set aside"][:2] == ("warning", "1 events could not be projected, of acme")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (KEY, None),
        (RAW.hex(), f"it looks like hex; in base64 it is {KEY}"),
        (RAW.hex().upper(), f"it looks like hex; in base64 it is {KEY}"),
        (PEM, f"it looks like PEM; its raw bytes in base64 are {KEY}"),
        (PEM.replace("\n", "\\n"), f"it looks like PEM; its raw bytes in base64 are {KEY}"),
        (DER, f"it looks like a PEM's inside; its raw bytes in base64 are {KEY}"),
        (RSA, "it looks like PEM, and of no Ed25519 public key"),
        (KEY[:-4], "it is not base64 of 32 bytes"),
        ("KEY0123", "it is not base64 of 32 bytes"),
    ],
    ids=["base64", "hex", "HEX", "PEM", "PEM on one line", "DER", "RSA", "cut off", "no key"],
)
def test_a_key_in_another_form_is_recognised(text: str, reason: str | None) -> None:
    assert misread_key(text) == reason


async def test_a_key_in_another_form_is_said_with_the_right_one(voice: Voice) -> None:
    voice.environment["VOICE_TELNYX_PUBLIC_KEYS"] = f"{KEY},{RAW.hex()}"
    checks = await found(voice, exit_code=1)
    assert checks["Telnyx keys"][1] == f"VOICE_TELNYX_PUBLIC_KEYS: key 2: it looks like hex; in base64 it is {KEY}"
    assert checks["settings of webhooks"][0] == "failed"
    voice.environment["VOICE_TELNYX_PUBLIC_KEYS"] = None
    assert (await found(voice, exit_code=1))["Telnyx keys"][0] == "warning"


async def test_without_a_store_the_rest_is_looked_at(voice: Voice, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("voice_common.cli.doctor._STORE_SECONDS", 0.2)
    voice.environment["VOICE_MONGO_URL"] = "mongodb://user:secret@127.0.0.1:1/?replicaSet=rs0"
    result = await voice("doctor", "--service", "webhooks", "--json")
    assert "secret" not in result.output
    checks = await found(voice, exit_code=1)
    assert checks["MongoDB"][1].startswith("127.0.0.1:1 does not answer")
    assert checks["settings of webhooks"][0] == "ok"
    assert "quarantine" not in checks
    voice.environment["VOICE_MONGO_URL"] = "mongodb://user:secret@h:x/"
    result = await voice("doctor")
    assert (result.exit_code, "secret" in result.output) == (1, False)
    assert "VOICE_MONGO_URL is wrong: must be a mongodb:" in result.stdout


async def test_a_wrong_setting_is_named(voice: Voice) -> None:
    voice.environment["VOICE_INTAKE_QUEUE_EVENTS"] = "many"
    outcome, message, _ = (await found(voice, exit_code=1))["settings of webhooks"]
    assert outcome == "failed"
    assert "VOICE_INTAKE_QUEUE_EVENTS is wrong" in message
