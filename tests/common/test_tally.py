from __future__ import annotations

import asyncio

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from voice_common.telemetry.tally import Tally


def made() -> tuple[CollectorRegistry, Counter, Histogram]:
    registry = CollectorRegistry()
    return (
        registry,
        Counter("tally_total", "Counted", registry=registry),
        Histogram("tally_seconds", "Observed", buckets=(0.1, 1.0), registry=registry),
    )


async def test_what_was_counted_and_observed_is_in_the_metrics_after_a_flush() -> None:
    registry, counter, histogram = made()
    tally = Tally()
    for value in (0.05, 0.1, 0.11, 1.0, 7.0):
        tally.count(counter)
        tally.observe(histogram, value)
    assert registry.get_sample_value("tally_total") == 0
    tally.flush()
    tally.flush()
    assert registry.get_sample_value("tally_total") == 5
    assert registry.get_sample_value("tally_seconds_count") == 5
    assert registry.get_sample_value("tally_seconds_sum") == 8.26
    assert [registry.get_sample_value("tally_seconds_bucket", {"le": le}) for le in ("0.1", "1.0", "+Inf")] == [2, 4, 5]


async def test_it_flushes_by_itself() -> None:
    registry, counter, _ = made()
    tally, flushed = Tally(), asyncio.Event()
    tally.count(counter)
    asyncio.get_running_loop().call_later(1, flushed.set)
    await flushed.wait()
    assert registry.get_sample_value("tally_total") == 1


async def test_an_observation_or_a_level_alone_flushes_too_and_the_last_level_counts() -> None:
    registry, _, histogram = made()
    gauge = Gauge("tally_level", "Level", registry=registry)
    tally, flushed = Tally(), asyncio.Event()
    tally.observe(histogram, 0.05)
    asyncio.get_running_loop().call_later(0.2, flushed.set)
    await flushed.wait()
    assert registry.get_sample_value("tally_seconds_count") == 1
    flushed.clear()
    for level in (3, 7, 5):
        tally.level(gauge, level)
    asyncio.get_running_loop().call_later(0.2, flushed.set)
    await flushed.wait()
    assert registry.get_sample_value("tally_level") == 5
