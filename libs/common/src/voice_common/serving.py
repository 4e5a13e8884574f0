"""A service under gunicorn, with aiohttp's uvloop worker."""

from __future__ import annotations

import gc
import importlib
import os
import shutil
import sys
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING

from gunicorn.app.base import BaseApplication

from voice_common.lifeline import die_with_parent
from voice_common.settings import ServiceSettings, SettingsError, load
from voice_common.telemetry.logs import configure_logs
from voice_common.telemetry.traces import traces_wanted

if TYPE_CHECKING:
    from aiohttp import web

Factory = Callable[[], Awaitable["web.Application | web.AppRunner"]]


_COLLECT_AFTER = 20_000


class _Service(BaseApplication):  # type: ignore[misc] # gunicorn has no types
    def __init__(self, factory: str, options: dict[str, object]) -> None:
        self._factory = factory
        self._options = options
        super().__init__()

    def load_config(self) -> None:
        for name, value in self._options.items():
            self.cfg.set(name, value)

    def load(self) -> Factory:
        module, _, name = self._factory.partition(":")
        factory: Factory = getattr(importlib.import_module(module), name)
        settle_collector()
        return factory


def serve(
    service: str,
    factory: str,
    settings_model: type[ServiceSettings],
    *,
    more_binds: Callable[[ServiceSettings], list[str]] = lambda _: [],
) -> None:
    """Run a service until SIGTERM: `factory` (``module:function``) is awaited once in each worker process.

    Prints one sentence and exits with 2 where a setting is wrong.
    """
    try:
        settings = load(settings_model)
        traces_wanted()  # what is wrong there must stop this process, and not each worker again and again
    except SettingsError as error:
        sys.stderr.write(f"voice-{service}: {error}\n")
        sys.exit(2)
    configure_logs(service, settings.log_level)
    metrics_dir = tempfile.mkdtemp(prefix=f"voice-{service}-metrics-")
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = metrics_dir
    master = os.getpid()
    try:
        _Service(factory, _options(settings, more_binds(settings))).run()
    finally:
        if os.getpid() == master:  # a worker's exit unwinds this stack too
            shutil.rmtree(metrics_dir, ignore_errors=True)


def _options(settings: ServiceSettings, more_binds: list[str]) -> dict[str, object]:
    return {
        "bind": [f"{settings.host}:{settings.port}", *more_binds],
        "workers": settings.workers,
        "worker_class": "aiohttp.GunicornUVLoopWebWorker",
        "control_socket_disable": True,
        "accesslog": None,
        "errorlog": "-",
        "loglevel": "warning",
        "graceful_timeout": int(settings.drain_seconds) + 1,
        "timeout": 30,
        "keepalive": 75,
        "worker_tmp_dir": "/dev/shm" if Path("/dev/shm").is_dir() else None,  # noqa: S108 - heartbeats must not wait for a disk
        "post_fork": _post_fork,
        "child_exit": _child_exit,
    }


def _post_fork(_arbiter: object, _worker: object) -> None:
    die_with_parent()


def settle_collector() -> None:
    """Let the garbage collector look less often, once everything is imported."""
    # Imported modules live as long as the worker, and requests leave little that only a collection frees: the
    # default thresholds spent 5 % of a webhooks worker on looking for it.
    gc.freeze()
    gc.set_threshold(_COLLECT_AFTER, 20, 20)


def _child_exit(_arbiter: object, worker: object) -> None:
    from prometheus_client.multiprocess import mark_process_dead  # noqa: PLC0415 - reads the environment set above

    mark_process_dead(worker.pid)  # type: ignore[attr-defined, no-untyped-call] # neither side has types
