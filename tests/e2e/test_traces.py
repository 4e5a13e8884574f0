"""Spans of a running stack, as a collector gets them: from the gateway to MongoDB, from a webhook to its projection."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator

import aiohttp
import pytest
from e2e_factories import Customer, RunningStack, World, open_database, start_stack, until
from otlp_receiver import Collector, Span, collecting

from voice_common.identity import new_key_pair
from voice_common.times import now_ms, render_ms
from voice_local.servers import Server, free_port
from voice_local.simulation.delivery import Signer

HOOK = "/api/webhooks/telnyx/voice"
OVERVIEW = "/api/voice/analytics/overview"
CONVERSATIONS = "/api/conversations"


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with collecting() as collector:
        yield collector


@pytest.fixture(scope="module")
def traced_stack(tmp_path_factory: pytest.TempPathFactory, collector: Collector) -> Iterator[RunningStack]:
    environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_BSP_SCHEDULE_DELAY": "100"}
    data = tmp_path_factory.mktemp("traced") / "data"
    running = start_stack(data, free_port(), "--no-demo", environment=environment)
    try:
        running.wait_for("ready")
        yield running
    finally:
        running.stop()


@pytest.fixture
async def traced_world(traced_stack: RunningStack) -> AsyncIterator[World]:
    database = open_database(traced_stack.described()["mongo_url"])
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as session:
        yield World(traced_stack, database, session)
    await database.client.close()


@pytest.fixture
async def customer(traced_world: World) -> Customer:
    (customer,) = await traced_world.customer()
    return customer


def context() -> tuple[str, str, str]:
    """Give a ``traceparent``, its trace and its span."""
    trace, span = secrets.token_hex(16), secrets.token_hex(8)
    return f"00-{trace}-{span}-01", trace, span


async def deliver(world: World, customer: Customer, traceparent: str) -> None:
    (connection, *_) = customer.tenant.claims
    event = {
        "event_type": "call.initiated",
        "id": str(uuid.uuid4()),
        "occurred_at": render_ms(now_ms()),
        "payload": {"call_session_id": str(uuid.uuid4()), "connection_id": connection.value, "direction": "incoming"},
    }
    body = json.dumps({"data": event}).encode()
    headers = Signer(world.stack.directory.keys().telnyx).headers(body) | {"traceparent": traceparent}
    async with world.session.post(world.stack.base_url + HOOK, data=body, headers=headers) as answer:
        assert (answer.status, await answer.json()) == (200, {"status": "accepted"})


async def eventually(check: Callable[[], object]) -> None:
    """Wait until `check` no longer raises."""

    async def holds() -> bool:
        try:
            check()
        except ValueError as error:  # a span is not there yet
            raise AssertionError(str(error)) from error
        return True

    await until(holds)


async def test_a_webhooks_trace_goes_through_the_services_to_mongodb_and_to_its_projection(
    traced_world: World, customer: Customer, collector: Collector
) -> None:
    traceparent, trace, caller = context()
    await deliver(traced_world, customer, traceparent)

    def whole() -> None:
        edge = collector.one(trace, "voice-gateway", "SERVER", f"POST {HOOK}")
        asked = collector.one(trace, "voice-gateway", "CLIENT", "POST")
        taken = collector.one(trace, "voice-webhooks", "SERVER", f"POST {HOOK}")
        commit = collector.one(trace, "voice-webhooks", "INTERNAL", "intake.commit")
        insert = collector.one(trace, "voice-webhooks", "CLIENT", "insert events")
        projection = collector.one(trace, "voice-webhooks", "INTERNAL", "projection")
        parents = [span.parent for span in (edge, asked, taken, commit, insert, projection)]
        assert parents == [caller, edge.id, asked.id, taken.id, commit.id, taken.id]
        assert commit.links == projection.links == {(trace, taken.id)}
        written = {span.name for span in collector.children(projection)}
        assert {"insert conversations", "commitTransaction"} <= written
        assert edge.attributes["http.response.status_code"] == 200
        assert edge.attributes["voice.request_id"] == taken.attributes["voice.request_id"]
        assert insert.attributes["db.system.name"] == "mongodb"
        assert insert.attributes["db.collection.name"] == "events"

    await eventually(whole)


async def test_the_projection_of_a_batch_links_to_each_webhook_in_it(
    traced_world: World, customer: Customer, collector: Collector
) -> None:
    contexts = [context() for _ in range(40)]
    await asyncio.gather(*(deliver(traced_world, customer, traceparent) for traceparent, _, _ in contexts))

    def linked() -> None:
        taken = {
            (trace, collector.one(trace, "voice-webhooks", "SERVER", f"POST {HOOK}").id) for _, trace, _ in contexts
        }
        for name in ("intake.commit", "projection"):
            batches = [span.links & taken for span in collector.spans if span.name == name]
            assert set().union(*batches) == taken
            assert sum(map(len, batches)) == len(taken)

    await eventually(linked)
    assert max(len(span.links) for span in collector.spans if span.name == "intake.commit") > 1


async def test_requests_of_the_hot_path_have_the_same_spans_as_others(
    traced_world: World, customer: Customer, collector: Collector
) -> None:
    traces = []
    for path in (CONVERSATIONS, CONVERSATIONS, OVERVIEW, OVERVIEW):  # by the application first, then by the express
        traceparent, trace, caller = context()
        traces.append((trace, caller))
        await traced_world.get(path, customer, traceparent=traceparent)

    def spans_of(trace: str, caller: str, path: str) -> list[Span]:
        edge = collector.one(trace, "voice-gateway", "SERVER", f"GET {path}")
        assert edge.parent == caller
        assert edge.attributes["voice.tenant"] == customer.tenant.id
        assert edge.attributes["http.response.status_code"] == 200
        return collector.children(edge)

    def whole() -> None:
        for trace, caller in traces[:2]:
            (asked,) = [span for span in spans_of(trace, caller, CONVERSATIONS) if span.name == "GET"]
            (answered,) = collector.children(asked)
            assert (answered.service, answered.kind) == ("voice-recordings", "SERVER")
            assert answered.name == f"GET {CONVERSATIONS}"
            assert {span.kind for span in collector.children(answered)} == {"CLIENT"}
            assert any("conversations" in span.name for span in collector.children(answered))
        assert any(span.name == "GET" for span in spans_of(*traces[2], OVERVIEW))
        assert spans_of(*traces[3], OVERVIEW) == []  # out of the process's memory

    await eventually(whole)


async def test_a_request_without_a_context_begins_a_trace_and_one_that_fails_says_so(
    traced_world: World, collector: Collector
) -> None:
    requested = uuid.uuid4().hex
    await traced_world.get("/nowhere", None, **{"X-Request-ID": requested})

    def begun() -> None:
        (span,) = [span for span in collector.spans if span.attributes.get("voice.request_id") == requested]
        assert (span.name, span.parent, span.failed) == ("GET", "", False)
        assert span.attributes["http.response.status_code"] == 404
        assert "http.route" not in span.attributes

    await eventually(begun)


async def test_probes_scrapes_and_background_work_leave_no_spans(traced_world: World, collector: Collector) -> None:
    described = traced_world.stack.described()["services"]
    for service in described.values():
        for url in (service["metrics_url"], f"{service['url']}/livez", f"{service['url']}/readyz"):
            async with traced_world.session.get(url) as answer:
                assert answer.status == 200
    traceparent, trace, _ = context()
    await traced_world.get("/nowhere", None, traceparent=traceparent)
    await eventually(lambda: collector.one(trace, "voice-gateway", "SERVER", "GET"))
    known = {span.id for span in collector.spans}
    roots = [span for span in collector.spans if span.parent not in known and span.kind != "SERVER"]
    assert {span.name for span in roots} <= {"rollup.refresh"}
    assert not [span for span in collector.spans if str(span.attributes.get("url.path")).endswith("z")]


def test_without_an_address_nothing_of_the_sdk_is_imported() -> None:
    program = (
        "import sys, voice_analytics.app, voice_recordings.app, voice_webhooks.app\n"
        "from voice_common.telemetry.traces import TRACES\n"
        "from voice_common.mongo import connect\n"
        "connect('mongodb://127.0.0.1:1', timeout_seconds=1); TRACES.start('webhooks')\n"
        "print([name for name in sys.modules if name.startswith(('opentelemetry.sdk', 'opentelemetry.exporter'))])"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    said = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert said.stdout == "[]\n"


@pytest.mark.parametrize("module", ["voice_webhooks", "voice_analytics.worker"])
def test_another_protocol_stops_the_start_with_a_sentence(module: str) -> None:
    environment = {
        **os.environ,
        "VOICE_IDENTITY_PUBLIC_KEYS": new_key_pair()[1],
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4317",
        "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
    }
    ended = subprocess.run(
        [sys.executable, "-m", module], env=environment, capture_output=True, text=True, check=False, timeout=30
    )
    assert ended.returncode == 2
    assert "OTEL_EXPORTER_OTLP_PROTOCOL is wrong: traces are sent as http/protobuf only" in ended.stderr


async def test_a_collector_that_hangs_keeps_no_request_and_no_stop_waiting(mongo_server: Server) -> None:
    port = free_port()
    writers: list[asyncio.StreamWriter] = []
    held = await asyncio.start_server(lambda _reader, writer: writers.append(writer), "127.0.0.1", 0)
    environment = {
        **os.environ,
        "VOICE_PORT": str(port),
        "VOICE_MONGO_URL": mongo_server.url,
        "VOICE_MONGO_DATABASE": "traces_held",
        "VOICE_IDENTITY_PUBLIC_KEYS": new_key_pair()[1],
        "VOICE_LOG_LEVEL": "error",
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{held.sockets[0].getsockname()[1]}",
        "OTEL_BSP_SCHEDULE_DELAY": "50",
    }
    process = subprocess.Popen([sys.executable, "-m", "voice_recordings"], env=environment)
    try:
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:

            async def answered() -> bool:
                async with session.get("/api/conversations") as answer:
                    return answer.status == 401

            await until(answered)
            started = time.monotonic()
            for _ in range(20):
                assert await answered()
            assert time.monotonic() - started < 2
        process.send_signal(signal.SIGTERM)
        started = time.monotonic()
        assert await asyncio.to_thread(process.wait, 20) == 0
        assert time.monotonic() - started < 8  # 2 s of which are the collector's
    finally:
        process.kill()
        process.wait()
        held.close()
        for writer in writers:
            writer.close()
            await writer.wait_closed()
    assert writers
