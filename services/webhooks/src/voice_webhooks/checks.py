"""What ``voice doctor`` looks at for the webhooks service."""

from __future__ import annotations

import os

from voice_common.doctor.findings import Check, Finding, Surroundings, failed, ok, warning
from voice_common.doctor.indexes import index_check
from voice_common.doctor.settings import settings_check
from voice_common.store.claim_uses import SILENT_DAYS, ClaimUses, described
from voice_common.store.conversations import VERSION
from voice_common.store.events import EVENTS
from voice_common.times import now_ms, render_ms
from voice_webhooks.key_forms import misread_key
from voice_webhooks.quarantine import UNCLAIMED
from voice_webhooks.settings import WebhooksSettings

INDEXES = {
    "events": ("by_worker", "partials"),
    "conversations": ("by_start", "by_phase", "by_session", "by_version_and_phase"),
    "aliases": ("by_id",),
    "parked": ("by_version",),
    "workers": ("by_lease",),
    "quarantine": ("by_reason", "by_claim", "by_tie", "by_session"),
    "claims": ("tenant_1",),
    "set_aside": ("by_need",),
}
_KEYS = "VOICE_TELNYX_PUBLIC_KEYS"
_NOTICEABLE_MS = 2_000
_HARMFUL_MS = 15_000
_COUNTED = 100_000
_NAMED = 5


async def _keys(surroundings: Surroundings) -> Finding:
    said = os.environ.get(_KEYS, "")
    # A PEM has no comma in it, so it is one part however many lines it has.
    keys = [part.strip() for part in said.split(",") if part.strip()]
    wrong = [f"key {place}: {why}" for place, key in enumerate(keys, 1) if (why := misread_key(key)) is not None]
    if wrong:
        return failed(
            f"{_KEYS}: {'; '.join(wrong)}", "write each key as base64 of its 32 raw bytes, as Telnyx shows it"
        )
    if keys:
        return ok(f"{len(keys)} of the right form in {_KEYS}")
    if surroundings.stack is not None:
        return ok("the local stack's own; real webhooks need your account's key in VOICE_TELNYX_PUBLIC_KEYS")
    return warning(
        f"{_KEYS} is empty here: only tenants with keys of their own get their webhooks",
        "set it to your account's key: Mission Control, Keys & Credentials, Public Key",
    )


async def _projection(surroundings: Surroundings) -> Finding:
    """Look for the oldest event that is stored and not projected, of any worker."""
    database = surroundings.database
    oldest: int | None = None
    async for worker in database["workers"].find({}):
        beyond = {"worker": worker["_id"], "seq": {"$gt": worker["checkpoint"]}}
        if worker.get("seen", -1) >= 0 and await database[EVENTS].count_documents(beyond) == worker["seen"]:
            continue
        first = await database[EVENTS].find_one(beyond, {"received_at": 1}, sort=[("seq", 1)])
        if first is not None:
            oldest = min(oldest or first["received_at"], first["received_at"])
    lag = 0 if oldest is None else max(0, now_ms() - oldest)
    message = f"the oldest event that is not projected waits for {lag / 1000:.1f} s"
    advice = "look whether the webhooks service runs and what its log says; then: voice events replay TENANT"
    if lag >= _HARMFUL_MS:
        return failed(message, advice)
    if lag >= _NOTICEABLE_MS:
        return warning(message, advice)
    return ok("nothing waits" if oldest is None else message)


async def _quarantine(surroundings: Surroundings) -> Finding:
    quarantine = surroundings.database["quarantine"]
    unclaimed = await quarantine.count_documents({"reason": UNCLAIMED}, limit=_COUNTED)
    # Not by what it is: two ranges of the index instead of a walk over everything.
    others = [{"reason": {"$lt": UNCLAIMED}}, {"reason": {"$gt": UNCLAIMED}}]
    unreadable = sum([await quarantine.count_documents(other, limit=_COUNTED) for other in others])
    if not unclaimed and not unreadable:
        return ok("it is empty")
    oldest = await quarantine.find_one({"reason": UNCLAIMED}, {"received_at": 1})
    since = f", one of them since {render_ms(oldest['received_at'])}" if oldest else ""
    return warning(
        f"{_figure(unclaimed)} events wait for a tenant{since}; {_figure(unreadable)} can't be read",
        "voice events quarantine shows their claims; give one to a tenant: voice tenant update ID --connection-id C",
    )


async def _claims(surroundings: Surroundings) -> Finding:
    silent = await ClaimUses(surroundings.database).silent(now=now_ms())
    if not silent:
        return ok(f"each that was watched for {SILENT_DAYS} days has matched something")
    named = "; ".join(f"{one.tenant}: {described(one)}" for one in silent[:_NAMED])
    more = f" and {len(silent) - _NAMED} others" if len(silent) > _NAMED else ""
    return warning(
        f"{len(silent)} have matched nothing for {SILENT_DAYS} days: {named}{more}",
        "claim the number as Telnyx sends it: voice tenant update ID --number N --remove OLD",
    )


async def _set_aside(surroundings: Surroundings) -> Finding:
    set_aside = surroundings.database["set_aside"]
    left = await set_aside.count_documents({"needs": {"$gt": VERSION}}, limit=_COUNTED)
    if left:
        return warning(
            f"{_figure(left)} events are of calls that newer code has made, and wait for workers of that code",
            "finish the upgrade; after a rollback for good: voice rebuild --replace-newer",
        )
    count = await set_aside.count_documents({}, limit=_COUNTED)
    if count:
        tenants = sorted(await set_aside.distinct("_id.tenant"))
        named = ", ".join(tenants[:_NAMED]) + (f" and {len(tenants) - _NAMED} others" if len(tenants) > _NAMED else "")
        return warning(
            f"{_figure(count)} events could not be projected, of {named}",
            "voice events list TENANT --set-aside shows why; after an upgrade: voice events replay TENANT",
        )
    return ok("every event could be projected")


def _figure(count: int) -> str:
    return f"{count}{' or more' if count >= _COUNTED else ''}"


CHECKS = (
    settings_check("webhooks", WebhooksSettings),
    Check("Telnyx keys", _keys, needs_store=False),
    index_check("webhooks", INDEXES),
    Check("projection", _projection),
    Check("quarantine", _quarantine),
    Check("claims", _claims),
    Check("events set aside", _set_aside),
)
