"""Claims that match nothing are named, once they have been watched for long enough."""

from __future__ import annotations

import dataclasses

from voice_command import Voice
from webhooks_factories import T0, Service, body_of, event, until

from voice_common.mongo import Database
from voice_common.store.claim_uses import ClaimUses, described
from voice_common.store.envelope import read_envelope
from voice_common.store.events import StoredEvent
from voice_common.store.tenants import Claim, ClaimKind, Tenant, TenantStore
from voice_common.times import DAY_MS, now_ms
from voice_local.servers import Server
from voice_webhooks.claim_watch import ClaimWatch
from voice_webhooks.directory import CachedDirectory
from voice_webhooks.quarantine import UNCLAIMED, Quarantine

NUMBER = Claim(ClaimKind.NUMBER, "+3125550100")
CONNECTION = Claim(ClaimKind.CONNECTION, "77")


def stored(tenant: str, **payload: str) -> StoredEvent:
    body = body_of(event("call.initiated", call_session_id="s", **payload))  # type: ignore[arg-type]
    envelope = read_envelope(body, received_at=T0)
    return StoredEvent(tenant, "session:s", "e", "call.initiated", T0, T0, "key", body, envelope=envelope)


class Clock:
    now = T0

    def __call__(self) -> int:
        return self.now


async def watching(database: Database, *claims: Claim) -> tuple[ClaimWatch, TenantStore, Clock]:
    tenants, clock = TenantStore(database), Clock()
    await tenants.create_indexes()
    await tenants.create(Tenant("silent", "S", claims=claims))
    return ClaimWatch(database, CachedDirectory(tenants), clock=clock), tenants, clock


async def silent(database: Database, now: int) -> list[str]:
    return [described(one) for one in await ClaimUses(database).silent(now=now)]


async def test_a_claim_that_matches_nothing_for_a_week_is_named_beside_what_looks_like_it(database: Database) -> None:
    watch, _, clock = await watching(database, NUMBER, CONNECTION)
    await watch.look()
    called = event("call.initiated", call_session_id="q", direction="incoming", to="+13125550100")
    envelope = read_envelope(body_of(called), received_at=T0)
    await Quarantine(database).keep(body_of(called), "key", envelope, UNCLAIMED, received_at=T0)
    watch.projected([stored("silent", connection_id="77")])
    clock.now += 60_000
    await watch.look()
    assert await silent(database, T0 + 7 * DAY_MS - 1) == []
    assert await silent(database, T0 + 7 * DAY_MS + 1) == ["number +3125550100 (in quarantine: +13125550100)"]
    assert len(await silent(database, T0 + 9 * DAY_MS)) == 2, "the connection matched nothing since"


async def test_a_match_is_written_once_a_day_and_a_claim_that_is_taken_away_is_forgotten(database: Database) -> None:
    watch, tenants, clock = await watching(database, CONNECTION)
    for step in range(3):
        watch.projected([stored("silent", connection_id="77"), stored("silent", connection_id="78")])
        clock.now = T0 + step * DAY_MS // 2
        await watch.look()
        (use,) = await database["claim_uses"].find({}).to_list()
        assert use["matched_at"] == T0 + step // 2 * DAY_MS
        assert use["watched_since"] == T0
    await tenants.replace(dataclasses.replace(await tenants.get("silent"), claims=()))
    fresh = ClaimWatch(database, CachedDirectory(tenants), clock=clock)
    await fresh.look()
    assert await database["claim_uses"].count_documents({}) == 0


async def test_the_doctor_and_the_tenant_show_claims_that_match_nothing(
    service: Service, database: Database, mongo_server: Server
) -> None:
    voice = Voice({"VOICE_MONGO_URL": mongo_server.url, "VOICE_MONGO_DATABASE": database.name})
    await until(lambda: database["claim_uses"].find_one({"_id.value": "1001"}))
    await database["claim_uses"].update_many({}, {"$set": {"watched_since": now_ms() - 8 * DAY_MS}})
    findings = (await voice.json("doctor", "--service", "webhooks", exit_code=1))["findings"]
    (claims,) = (one for one in findings if one["check"] == "claims")
    assert claims["outcome"] == "warning"
    assert "acme: connection 1001" in claims["message"]
    shown = await voice.json("tenant", "show", "acme")
    assert {"kind": "connection", "value": "1001", "look_alikes": []} in shown["silent_claims"]
    await service.status(event("call.initiated", connection_id="1001", call_session_id="s1"))
