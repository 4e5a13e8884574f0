"""``voice-analytics-worker``: keeps the rollups, with the operators' routes on a port of its own."""

from __future__ import annotations

import asyncio
import signal
import sys
from functools import partial

import uvloop
from aiohttp import web

from voice_analytics.settings import WorkerSettings
from voice_analytics.worker.loop import working
from voice_common.mongo import connect, ping
from voice_common.settings import SettingsError, load
from voice_common.telemetry.logs import configure_logs
from voice_common.telemetry.traces import TRACES
from voice_common.web.app import make_app
from voice_common.web.health import HEALTH
from voice_common.web.runner import ServiceRunner

_STORE_SECONDS = 5.0


def main() -> None:
    """Work until SIGTERM or SIGINT; exit with 2 and one sentence where a setting is wrong or the port is taken."""
    try:
        settings = load(WorkerSettings)
        configure_logs("analytics-worker", settings.log_level)
        TRACES.start("analytics-worker")
        uvloop.run(_run(settings))
    except SettingsError as error:
        sys.stderr.write(f"voice-analytics-worker: {error}\n")
        sys.exit(2)
    except OSError as error:
        sys.stderr.write(f"voice-analytics-worker: {settings.host}:{settings.port} can't be listened on: {error}\n")
        sys.exit(2)


async def _run(settings: WorkerSettings) -> None:
    stopped = asyncio.Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(signum, stopped.set)
    client = connect(settings.mongo_url, timeout_seconds=_STORE_SECONDS)
    database = client[settings.mongo_database]
    app = make_app("analytics-worker")
    app[HEALTH].add("mongo", partial(ping, database))
    runner = ServiceRunner(app, drain_seconds=settings.drain_seconds)
    await runner.setup()
    try:
        await web.TCPSite(runner, settings.host, settings.port).start()
        async with working(
            database, poll_seconds=settings.analytics_poll_seconds, drain_seconds=settings.drain_seconds
        ):
            await stopped.wait()
    finally:
        await runner.cleanup()
        await client.close()


if __name__ == "__main__":
    main()
