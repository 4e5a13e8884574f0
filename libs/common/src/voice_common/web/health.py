"""The operators' routes of a service's internal port: ``/livez``, ``/readyz``, ``/metrics``."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from aiohttp import web

from voice_common.telemetry.metrics import CONTENT_TYPE, exposition
from voice_common.web.render import json_response

_CHECK_SECONDS = 1.0
_REMEMBERED_SECONDS = 1.0
Check = Callable[[], Awaitable[object]]


class Health:
    """What a service needs to serve, each dependency with a name."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.draining = False
        self._checks: dict[str, Check] = {}
        self._clock = clock
        self._looking: asyncio.Task[bool] | None = None
        self._looked_at = float("-inf")

    def add(self, name: str, check: Check) -> None:
        """Name a dependency; `check` raises when it can't be used."""
        self._checks[name] = check

    async def report(self) -> dict[str, str]:
        """Check all dependencies at once: ``ok`` or the error's type, by name."""
        outcomes = await asyncio.gather(*(self._run(check) for check in self._checks.values()))
        return dict(zip(self._checks, outcomes, strict=True))

    async def is_ready(self) -> bool:
        """Tell whether the service can serve: not draining, and every dependency answered at most a second ago.

        Strangers may ask it: however many do, the dependencies are looked at once a second.
        """
        looking = self._looking
        if looking is None or (looking.done() and self._clock() - self._looked_at >= _REMEMBERED_SECONDS):
            self._looked_at = self._clock()
            looking = self._looking = asyncio.create_task(self._all_answer())
        return await asyncio.shield(looking) and not self.draining

    async def _all_answer(self) -> bool:
        return all(outcome == "ok" for outcome in (await self.report()).values())

    @staticmethod
    async def _run(check: Check) -> str:
        try:
            async with asyncio.timeout(_CHECK_SECONDS):
                await check()
        except Exception as error:  # noqa: BLE001 - whatever it is, it is what readyz reports
            return type(error).__name__
        return "ok"


HEALTH = web.AppKey("health", Health)


def ops_routes() -> list[web.RouteDef]:
    """Give the three routes of an internal port."""
    return [web.get("/livez", livez), web.get("/readyz", readyz), web.get("/metrics", metrics)]


async def livez(_request: web.Request) -> web.Response:
    """Answer that the process runs; never looks at a dependency."""
    return json_response({"status": "ok"})


async def readyz(request: web.Request) -> web.Response:
    """Answer 200 when every dependency does, else 503; each is named."""
    health = request.app[HEALTH]
    checks = await health.report()
    if health.draining:
        checks["process"] = "draining"
    if all(outcome == "ok" for outcome in checks.values()):
        return json_response({"status": "ok", "checks": checks})
    return json_response({"status": "unavailable", "checks": checks}, status=503, headers={"Retry-After": "1"})


async def metrics(_request: web.Request) -> web.Response:
    """Give the metrics of all workers in Prometheus' text format."""
    return web.Response(body=exposition(), headers={"Content-Type": CONTENT_TYPE})
