"""The cache of reports as one gateway's clients see it."""

from __future__ import annotations

import asyncio
import gzip
import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime

import brotli  # type: ignore[import-untyped]
import pytest
from gateway_factories import (
    NO_CACHE,
    OVERVIEW,
    TIMELINE,
    Gated,
    Gateway,
    Services,
    make_tenant,
    make_token,
    says,
    until,
)

from voice_common.mongo import Database
from voice_gateway import answers, cache, upstream
from voice_gateway.answers import Answer
from voice_gateway.memory_level import MemoryLevel

pytestmark = pytest.mark.usefixtures("patient_with_redis")


async def test_a_report_is_kept_for_its_time_and_says_so(gateway: Gateway, services: Services, token: str) -> None:
    for path, ttl in ((OVERVIEW, 60), (OVERVIEW.replace("overview", "detailed"), 60), (TIMELINE, 300)):
        miss, hit = await gateway.get(path, token), await gateway.get(path, token)
        assert (miss.status, miss.headers["X-Cache"], hit.headers["X-Cache"]) == (200, "MISS", "HIT")
        assert miss.body == hit.body
        assert "Age" not in miss.headers
        assert hit.headers["Age"] == "0"
        for reply in (miss, hit):
            assert reply.headers["Cache-Control"] == f"public, max-age={ttl}"
            assert reply.headers["CDN-Cache-Control"] == "no-store"
            assert reply.headers["Vary"] == "Authorization, Origin, Accept-Encoding"
            assert reply.headers["ETag"].startswith('"')
            assert reply.headers["Content-Type"] == "application/json; charset=utf-8"
        assert miss.headers["ETag"] == hit.headers["ETag"]
    assert len(services.analytics.seen) == 3


async def test_equivalent_queries_share_an_answer_and_others_do_not(
    gateway: Gateway, services: Services, token: str
) -> None:
    same = [
        "?start_date=2025-01-01&end_date=2025-01-31",
        "?end_date=2025-01-31&start_date=2025-01-01T00:00:00Z",
        "?start_date=2025-01-01T01:00%2B01:00&end_date=2025-02-01T00:00",
        "?end%5Fdate=2025-02-01T00:00:00.000Z&&start_date=2025-01-01T01:00:00 01:00".replace(" ", "+"),
    ]
    for query in same:
        await gateway.get(OVERVIEW + query, token)
    assert len(services.analytics.seen) == 1
    for query in ("?start_date=2025-01-01", "?end_date=2025-01-31", "?start_date=2025-01-01&end_date=2025-01-30", ""):
        await gateway.get(OVERVIEW + query, token)
    assert len(services.analytics.seen) == 5
    for query in ("", "?bucket=day", "?bucket=hour", "?fill=zero&start_date=2025-01-01&end_date=2025-01-02"):
        await gateway.get(TIMELINE + query, token)
    assert len(services.analytics.seen) == 8


@pytest.mark.parametrize(
    "query",
    [
        "?what=1", "?start_date=x", "?start_date=2025-01-02&end_date=2025-01-01", "?bucket=day",
        "?start_date=2025-01-01&start_date=2025-01-01",
    ],
)  # fmt: skip
async def test_what_the_service_will_refuse_is_for_it_to_say_and_is_not_kept(
    gateway: Gateway, services: Services, token: str, query: str
) -> None:
    services.analytics.answer = says(400, {"error": "It is wrong"})
    for _ in range(2):
        reply = await gateway.get(OVERVIEW + query, token)
        assert (reply.status, reply.json()) == (400, {"error": "It is wrong"})
        assert reply.headers["Cache-Control"] == "private, no-store"
        assert "X-Cache" not in reply.headers
    assert [seen.target for seen in services.analytics.seen] == [OVERVIEW + query] * 2


async def test_only_200s_are_kept(gateway: Gateway, services: Services, token: str) -> None:
    services.analytics.answer = says(400, {"error": "There would be over 10000 buckets"})
    reply = await gateway.get(TIMELINE + "?fill=zero&start_date=1970-01-01&end_date=9998-01-01", token)
    assert (reply.status, reply.json()) == (400, {"error": "There would be over 10000 buckets"})
    assert reply.headers["Cache-Control"] == "private, no-store"
    services.analytics.answer = None
    reply = await gateway.get(TIMELINE + "?fill=zero&start_date=1970-01-01&end_date=9998-01-01", token)
    assert reply.status == 200


async def test_each_tenant_has_its_own_answers(gateway: Gateway, database: Database, token: str) -> None:
    other = await make_token(database, await make_tenant(database))
    assert (await gateway.get(OVERVIEW, token)).json() == {"count": 1}
    assert (await gateway.get(OVERVIEW, other)).json() == {"count": 2}
    assert (await gateway.get(OVERVIEW, token)).json() == {"count": 1}


async def test_if_none_match_is_a_304_with_the_same_headers(gateway: Gateway, token: str) -> None:
    first = await gateway.get(OVERVIEW, token)
    tag = first.headers["ETag"]
    for value in (tag, f"W/{tag}", f'"x", {tag}', f'W/"x" , W/{tag},', "*", f"broken, {tag}"):
        reply = await gateway.get(OVERVIEW, token, {"If-None-Match": value})
        assert (reply.status, reply.body) == (304, b""), value
        assert "Content-Type" not in reply.headers
        for name in ("ETag", "Cache-Control", "Vary", "CDN-Cache-Control", "X-Cache", "Age", "Date", "X-Request-ID"):
            assert name in reply.headers, name
        assert "X-RateLimit-Remaining" in reply.headers
    for value in ('"x"', tag.strip('"'), f'"{tag}', "W/*", ""):
        assert (await gateway.get(OVERVIEW, token, {"If-None-Match": value})).status == 200, value


async def test_head_says_what_get_would(gateway: Gateway, services: Services, token: str) -> None:
    head = await gateway.get(OVERVIEW, token, method="HEAD")
    got = await gateway.get(OVERVIEW, token)
    assert (head.status, head.body) == (200, b"")
    assert head.headers["Content-Length"] == str(len(got.body))
    assert head.headers["ETag"] == got.headers["ETag"]
    assert [seen.method for seen in services.analytics.seen] == ["GET"]


async def test_encodings_have_tags_of_their_own(gateway: Gateway, services: Services, token: str) -> None:
    services.analytics.answer = says(200, {"timeline": [{"call_count": 1, "bucket": "x"}] * 3000})
    plain = await gateway.get(TIMELINE, token)
    zipped = await gateway.get(TIMELINE, token, {"Accept-Encoding": "gzip"})
    brotlied = await gateway.get(TIMELINE, token, {"Accept-Encoding": "gzip, deflate, br"})
    refused = await gateway.get(TIMELINE, token, {"Accept-Encoding": "gzip;q=0, identity"})
    assert "Content-Encoding" not in plain.headers
    assert (zipped.headers["Content-Encoding"], gzip.decompress(zipped.body)) == ("gzip", plain.body)
    assert (brotlied.headers["Content-Encoding"], brotli.decompress(brotlied.body)) == ("br", plain.body)
    assert refused.body == plain.body
    assert len({reply.headers["ETag"] for reply in (plain, zipped, brotlied)}) == 3
    match = {"Accept-Encoding": "gzip", "If-None-Match": zipped.headers["ETag"]}
    assert (await gateway.get(TIMELINE, token, match)).status == 304
    assert (await gateway.get(TIMELINE, token, {"If-None-Match": zipped.headers["ETag"]})).status == 200
    assert len(services.analytics.seen) == 1


@pytest.mark.parametrize(
    ("accepted", "coding"),
    [
        ("", None), ("identity", None), ("gzip", "gzip"), ("GZIP", "gzip"), ("br", "br"), ("*", "br"),
        ("x-gzip", "gzip"),
        ("gzip;q=0.5, br;q=0.4", "gzip"), ("gzip;q=0", None), ("*;q=0", None), ("gzip;q=x", None), ("deflate", None),
        ("br;q=0, *", "gzip"), ("identity;q=1, gzip;q=0.1", None), ("gzip ; q=0.8 , identity;q=0.5", "gzip"),
    ],
)  # fmt: skip
def test_the_coding_is_chosen_by_weight(accepted: str, coding: str | None) -> None:
    assert answers.choose_coding(accepted) == coding


async def test_concurrent_misses_make_one_request_and_a_leaver_cancels_nothing(
    gateway: Gateway, services: Services, token: str
) -> None:
    gated = services.analytics.answer = Gated()
    first = asyncio.create_task(gateway.get(OVERVIEW, token))
    await until(lambda: gated.begun == 1)
    others = [asyncio.create_task(gateway.get(OVERVIEW, token)) for _ in range(5)]
    await asyncio.sleep(0.05)
    first.cancel()
    await asyncio.sleep(0.05)
    gated.gates[0].set()
    replies = await asyncio.gather(*others)
    assert {reply.status for reply in replies} == {200}
    assert gated.begun == 1
    assert services.analytics.cancelled == 0


async def test_no_cache_never_joins_an_earlier_request_and_replaces_what_is_kept(
    gateway: Gateway, services: Services, token: str
) -> None:
    gated = services.analytics.answer = Gated()
    plain = asyncio.create_task(gateway.get(OVERVIEW, token))
    await until(lambda: gated.begun == 1)
    fresh = asyncio.create_task(gateway.get(OVERVIEW, token, NO_CACHE))
    await until(lambda: gated.begun == 2)
    gated.gates[1].set()
    assert (await fresh).json() == {"number": 2}
    gated.gates[0].set()
    assert (await plain).json() == {"number": 1}
    kept = await gateway.get(OVERVIEW, token)
    assert kept.json() == {"number": 2}, "the older answer came later and must not overwrite the newer"
    assert kept.headers["X-Cache"] == "HIT"


async def test_when_analytics_is_down_an_old_answer_is_given_but_not_for_no_cache(
    gateway: Gateway, services: Services, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upstream, "_RESTART_SECONDS", 0.0)
    kept = await gateway.get(OVERVIEW, token)
    ahead = 0
    monkeypatch.setattr(answers, "time", _Shifted(lambda: ahead))
    await services.analytics.stop()
    ahead = 61
    stale = await gateway.get(OVERVIEW, token)
    assert (stale.status, stale.headers["X-Cache"], stale.body) == (200, "STALE", kept.body)
    assert int(stale.headers["Age"]) == 61
    assert stale.headers["Cache-Control"] == "public, max-age=60"
    fresh = await gateway.get(OVERVIEW, token, NO_CACHE)
    assert (fresh.status, fresh.json()) == (503, {"error": "Service unavailable"})
    assert fresh.headers["Retry-After"] == "1"
    ahead = 599
    assert (await gateway.get(OVERVIEW, token)).headers["X-Cache"] == "STALE"
    ahead = 601
    gone = await gateway.get(OVERVIEW, token)
    assert (gone.status, gone.json()) == (503, {"error": "Service unavailable"})
    await services.analytics.start()
    async with asyncio.timeout(5):
        while (back := await gateway.get(OVERVIEW, token)).status == 503:  # noqa: ASYNC110 - a circuit rests for a while
            await asyncio.sleep(0.02)
    assert (back.status, back.headers["X-Cache"]) == (200, "MISS")


class _Shifted:
    """The clock of answers, moved on."""

    def __init__(self, ahead: Callable[[], float]) -> None:
        self._ahead = ahead

    def time_ns(self) -> int:
        return time.time_ns() + int(self._ahead() * 1_000_000_000)


async def test_an_error_of_analytics_gives_the_old_answer_too(
    gateway: Gateway, services: Services, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await gateway.get(OVERVIEW, token)
    monkeypatch.setattr(answers, "time", _Shifted(lambda: 61))
    services.analytics.answer = says(503, {"error": "Service unavailable"}, {"Retry-After": "7"})
    assert (await gateway.get(OVERVIEW, token)).headers["X-Cache"] == "STALE"
    reply = await gateway.get(OVERVIEW + "?start_date=2025-01-01", token)
    assert (reply.status, reply.headers["Retry-After"]) == (503, "7")


async def test_date_less_age_is_when_it_was_computed(gateway: Gateway, token: str) -> None:
    begun = time.time()
    await gateway.get(OVERVIEW, token)
    computed = time.time()
    await asyncio.sleep(1.1)
    hit = await gateway.get(OVERVIEW, token)
    assert int(hit.headers["Age"]) >= 1
    said = parsedate_to_datetime(hit.headers["Date"]).timestamp() - int(hit.headers["Age"])
    assert begun - 1.1 <= said <= computed + 1.1


async def test_a_new_tenant_of_an_old_id_sees_nothing_of_the_old_ones(
    gateway: Gateway, database: Database, token: str, tenant: str
) -> None:
    assert (await gateway.get(OVERVIEW, token)).json() == {"count": 1}
    await database["tenants"].update_one({"_id": tenant}, {"$inc": {"created_at": 1}})
    again = await make_token(database, tenant)
    assert (await gateway.get(OVERVIEW, again)).json() == {"count": 2}


NO_STORE = {"Cache-Control": "no-store"}


async def test_no_store_keeps_nothing(gateway: Gateway, token: str) -> None:
    await gateway.get(OVERVIEW, token, NO_STORE)
    assert (await gateway.get(OVERVIEW, token)).json() == {"count": 2}


async def test_no_store_shares_a_request_that_is_under_way_and_others_share_its_own(
    gateway: Gateway, services: Services, token: str
) -> None:
    gated = services.analytics.answer = Gated()
    for path, first, second in ((OVERVIEW, {}, NO_STORE), (TIMELINE, NO_STORE, {})):
        begun = gated.begun
        asking = [asyncio.create_task(gateway.get(path, token, first))]
        await until(lambda begun=begun: gated.begun == begun + 1)  # type: ignore[misc] # bound at once
        asking += [asyncio.create_task(gateway.get(path, token, headers)) for headers in (second, second, first)]
        await asyncio.sleep(0.05)
        gated.gates[-1].set()
        assert [reply.json() for reply in await asyncio.gather(*asking)] == [{"number": begun + 1}] * 4
        assert gated.begun == begun + 1
        assert (await gateway.get(path, token)).headers["X-Cache"] == "HIT", "somebody let it be kept"


async def test_no_store_is_given_the_old_answer_where_analytics_cannot_answer(
    gateway: Gateway, services: Services, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await gateway.get(OVERVIEW, token)
    monkeypatch.setattr(answers, "time", _Shifted(lambda: 61))
    services.analytics.answer = says(500, {"error": "Internal server error"})
    stale = await gateway.get(OVERVIEW, token, NO_STORE)
    assert (stale.status, stale.headers["X-Cache"], stale.headers["Age"]) == (200, "STALE", "61")


async def test_a_hanging_analytics_gives_the_old_answer_while_its_answer_is_waited_for(
    gateway: Gateway, services: Services, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = await gateway.get(OVERVIEW, token)
    ahead = 61
    monkeypatch.setattr(answers, "time", _Shifted(lambda: ahead))
    monkeypatch.setattr(cache, "_PATIENCE_SECONDS", 0.05)
    gated = services.analytics.answer = Gated()
    for _ in range(3):
        stale = await gateway.get(OVERVIEW, token)
        assert (stale.status, stale.headers["X-Cache"], stale.body) == (200, "STALE", kept.body)
        assert stale.headers["Age"] == "61"
    assert gated.begun == 1, "the request under way goes on, and nobody asks again"
    fresh = asyncio.create_task(gateway.get(OVERVIEW, token, NO_CACHE))
    await until(lambda: gated.begun == 2)
    await asyncio.sleep(0.1)
    assert not fresh.done(), "what demands a new answer gets no old one"
    ahead = 601
    waiting = asyncio.create_task(gateway.get(OVERVIEW, token))
    await asyncio.sleep(0.1)
    assert not waiting.done(), "the old answer is too old"
    gated.gates[0].set()
    assert ((await waiting).json(), (await waiting).headers["X-Cache"]) == ({"number": 1}, "MISS")
    ahead = 62
    assert (await gateway.get(OVERVIEW, token)).headers["X-Cache"] == "HIT"
    gated.gates[1].set()
    assert (await fresh).json() == {"number": 2}


def test_analytics_has_the_second_that_the_contract_gives_it() -> None:
    assert cache._PATIENCE_SECONDS == 1.0


async def test_everything_outside_analytics_is_private(gateway: Gateway, services: Services, token: str) -> None:
    services.recordings.answer = says(200, {}, {"Cache-Control": "public, max-age=99", "CDN-Cache-Control": "x"})
    for path in ("/api/conversations", "/api/voice/recordings/x", "/nope", "/livez"):
        headers = (await gateway.get(path, token)).headers
        assert headers.getall("Cache-Control") == ["private, no-store"]
        assert "CDN-Cache-Control" not in headers


def test_memory_is_bounded_by_bytes_and_the_least_used_goes_first() -> None:
    level = MemoryLevel(10_000)
    for n in range(100):
        level.put(str(n), Answer(b"x" * 1000, n))
        level.get("0")
    assert level.get("0") is not None
    assert level.get("1") is None
    assert level.get("99") is not None
    assert level._bytes <= 10_000
    level.put("99", Answer(b"old", 1))
    newest = level.get("99")
    assert newest is not None
    assert newest.computed_us == 99
