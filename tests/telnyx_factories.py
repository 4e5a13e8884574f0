"""A Telnyx of our own on loopback, as strict as its description: it refuses what the real one would."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer

KEY = "KEY0123456789ABCDEF_secret"
_FIELDS = {
    "active", "anchorsite_override", "application_name", "call_cost_in_webhooks", "dtmf_type", "first_command_timeout",
    "first_command_timeout_secs", "inbound", "outbound", "redact_dtmf_debug_logging", "webhook_api_version",
    "webhook_event_failover_url", "webhook_event_url", "webhook_timeout_secs",
}  # fmt: skip


def application(id_: str, **more: Any) -> dict[str, Any]:
    """Make an application as Telnyx shows it."""
    return {
        "id": id_,
        "record_type": "call_control_application",
        "application_name": "call-router",
        "active": True,
        "webhook_api_version": "1",
        "webhook_event_url": "https://example.com",
        "webhook_event_failover_url": None,
        "webhook_timeout_secs": 25,
        "inbound": {"channel_limit": 10},
        **more,
    }


def refusal(status: int, detail: str, pointer: str | None = None, **headers: str) -> web.Response:
    """Make an error as Telnyx answers it."""
    source = {"source": {"pointer": pointer}} if pointer else {}
    errors = [{"code": "10015", "title": "Refused", "detail": detail, **source}]
    return web.json_response({"errors": errors}, status=status, headers=headers)


class Telnyx:
    """Applications and a public key; `refuse` answers every request, `delay` seconds pass before each answer."""

    def __init__(self) -> None:
        self.applications: dict[str, dict[str, Any]] = {}
        self.public_key: str | None = None
        self.refuse: tuple[int, str, dict[str, str]] | None = None
        self.delay = 0.0
        self.ignores_changes = False
        self.patched: list[dict[str, Any]] = []
        self.asked: list[str] = []
        self.url = ""

    def add(self, id_: str, **more: Any) -> None:
        self.applications[id_] = application(id_, **more)

    def app(self) -> web.Application:
        app = web.Application(middlewares=[self._guard])
        app.router.add_get("/v2/call_control_applications", self._list)
        app.router.add_get("/v2/call_control_applications/{id}", self._show)
        app.router.add_patch("/v2/call_control_applications/{id}", self._update)
        app.router.add_get("/v2/public_key", self._key)
        return app

    @web.middleware
    async def _guard(self, request: web.Request, handler: Any) -> web.StreamResponse:
        self.asked.append(f"{request.method} {request.path}")
        await asyncio.sleep(self.delay)
        if request.headers.get("Authorization") != f"Bearer {KEY}":
            return refusal(401, "The API key looks malformed.")
        if self.refuse is not None:
            status, detail, headers = self.refuse
            return refusal(status, detail, "/webhook_event_url" if status == 422 else None, **headers)
        answer: web.StreamResponse = await handler(request)
        return answer

    async def _list(self, request: web.Request) -> web.Response:
        if set(request.query) - {"page[number]", "page[size]"}:
            return refusal(400, "unknown parameter")
        number, size = int(request.query.get("page[number]", 1)), int(request.query.get("page[size]", 20))
        if not 1 <= size <= 250:
            return refusal(400, "page size out of range")
        every = list(self.applications.values())
        pages = -(-len(every) // size)
        meta = {"page_number": number, "page_size": size, "total_pages": pages, "total_results": len(every)}
        return web.json_response({"data": every[(number - 1) * size : number * size], "meta": meta})

    async def _show(self, request: web.Request) -> web.Response:
        found = self.applications.get(request.match_info["id"])
        return refusal(404, "not found") if found is None else web.json_response({"data": found})

    async def _update(self, request: web.Request) -> web.Response:
        found = self.applications.get(request.match_info["id"])
        if found is None:
            return refusal(404, "not found")
        if request.content_type != "application/json":
            return refusal(415, "not JSON")
        document = await request.json()
        for name in ("application_name", "webhook_event_url"):
            if not document.get(name):
                return refusal(422, "is required", f"/{name}")
        if set(document) - _FIELDS or document.get("webhook_api_version", "2") not in {"1", "2"}:
            return refusal(422, "is not allowed")
        if not all(str(document[name] or "https:").startswith("https:") for name in document if name.endswith("_url")):
            return refusal(422, "must be a URL", "/webhook_event_url")
        self.patched.append(document)
        if not self.ignores_changes:
            found |= document
        return web.json_response({"data": found})

    async def _key(self, _request: web.Request) -> web.Response:
        if self.public_key is None:
            return refusal(404, "not found")
        return web.json_response({"data": {"record_type": "public_key", "public": self.public_key}})


@asynccontextmanager
async def running_telnyx() -> AsyncIterator[Telnyx]:
    """Serve a Telnyx on loopback."""
    telnyx = Telnyx()
    server = TestServer(telnyx.app())
    await server.start_server()
    telnyx.url = str(server.make_url("/v2"))
    try:
        yield telnyx
    finally:
        await server.close()
