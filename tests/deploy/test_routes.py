"""What each process answers at: its part of the API, what operators need, and nothing else."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from gateway_factories import PRIVATE_KEY, PUBLIC_KEY
from settings_table import ROOT

from voice_analytics.app import create_app as create_analytics
from voice_analytics.settings import AnalyticsSettings
from voice_common.serving import _options
from voice_common.settings import ServiceSettings
from voice_common.web.app import make_app
from voice_gateway.app import create_app as create_gateway
from voice_gateway.settings import GatewaySettings
from voice_local.servers import Server
from voice_recordings.app import create_app as create_recordings
from voice_recordings.settings import RecordingsSettings
from voice_webhooks.app import create_app as create_webhooks
from voice_webhooks.settings import WebhooksSettings

OPERATORS = {"/livez", "/readyz", "/metrics"}
DESCRIBED = OPERATORS | {"/openapi.json"}
REPORTS = {f"/api/voice/analytics/{name}" for name in ("overview", "detailed", "timeline")}
WEBHOOKS = {"/api/webhooks/telnyx/voice", "/api/webhooks/telnyx/voice/conversational-ai"}
CALLS = {
    "/api/voice/recordings/{conversationId}", "/api/conversations", "/api/conversations/{id}",
    "/api/conversations/{id}/messages",
}  # fmt: skip
PAGES = {
    "/api/openapi.json", "/api/docs", "/api/docs/page.js", "/api/docs/page.css", "/api/docs/swagger-ui-bundle.js",
    "/api/docs/swagger-ui.css", "/console", "/console/", "/console/conversations", "/console/conversations/{id}",
    "/console/assets/{name}",
}  # fmt: skip
READS = {"GET", "HEAD"}


@pytest.fixture
async def apps(mongo_server: Server, redis_server: Server) -> AsyncIterator[dict[str, web.Application]]:
    keys = [PUBLIC_KEY]
    settings = GatewaySettings(identity_private_key=PRIVATE_KEY, mongo_url=mongo_server.url, redis_url=redis_server.url)
    gateway = web.AppRunner(create_gateway(settings))
    await gateway.setup()  # so that all that it makes at once comes to an end
    yield {
        "gateway": gateway.app,
        "webhooks": create_webhooks(WebhooksSettings(identity_public_keys=keys)),
        "recordings": create_recordings(RecordingsSettings(identity_public_keys=keys)),
        "analytics": create_analytics(AnalyticsSettings(identity_public_keys=keys)),
        "analytics-worker": make_app("analytics-worker"),
    }
    await gateway.cleanup()


def routes_of(app: web.Application) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for route in app.router.routes():
        assert route.resource is not None
        found.setdefault(route.resource.canonical, set()).add(route.method)
    return found


async def test_no_process_has_a_route_that_is_neither_of_the_api_nor_for_operators(
    apps: dict[str, web.Application],
) -> None:
    assert {service: set(routes_of(app)) for service, app in apps.items()} == {
        "gateway": OPERATORS | REPORTS | WEBHOOKS | CALLS | PAGES,
        "webhooks": DESCRIBED | WEBHOOKS,
        "recordings": DESCRIBED | CALLS,
        "analytics": DESCRIBED | REPORTS,
        "analytics-worker": OPERATORS,
    }


async def test_only_webhooks_take_anything_but_reads(apps: dict[str, web.Application]) -> None:
    for app in apps.values():
        for path, methods in routes_of(app).items():
            assert methods <= ({"POST"} if path in WEBHOOKS else READS), path


def test_nothing_runs_in_a_debug_mode() -> None:
    sources = [path for folder in ("libs", "services", "deploy") for path in (ROOT / folder).rglob("src/**/*.py")]
    assert len(sources) > 100
    assert [path for path in sources if re.search(r"debug=True|set_debug|ASYNCIODEBUG", path.read_text())] == []
    options = _options(ServiceSettings(), [])
    assert not any(options.get(name) for name in ("reload", "spew", "check_config", "print_config"))
    assert options["control_socket_disable"] is True
