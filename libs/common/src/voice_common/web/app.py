"""The application that every service starts from."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable

from aiohttp import hdrs, http_parser, http_writer, web
from aiohttp.typedefs import Middleware

from voice_common.telemetry.tally import TALLY
from voice_common.telemetry.traces import TRACES
from voice_common.web.health import HEALTH, Health, ops_routes
from voice_common.web.observe import AccessLog, Observer, stamp
from voice_common.web.render import render_errors
from voice_common.web.tracing import TracedObserver, trace_requests

SERVICE = web.AppKey("service", str)
OBSERVER = web.AppKey("observer", Observer)
_SHOWN = frozenset({hdrs.METH_GET, hdrs.METH_POST})


def make_app(
    service: str,
    *,
    middlewares: Iterable[Middleware] = (),
    max_body: int = 64 * 1024,
    log_requests: bool = True,
) -> web.Application:
    """Make an application with request ids, logs, metrics, errors of the contract and the operators' routes.

    `service` names it in logs and metrics; `max_body` is the largest request body in bytes; `log_requests` has
    each request logged, and not only measured.
    Raises `RuntimeError` where aiohttp's C extensions are missing: the pure-Python parser is both slower and laxer.
    """
    if http_parser.HttpRequestParser is http_parser.HttpRequestParserPy or (
        http_writer._serialize_headers is http_writer._py_serialize_headers  # noqa: SLF001 - no public way to ask
    ):
        message = "aiohttp's C extensions are missing"
        raise RuntimeError(message)
    log = AccessLog(enabled=log_requests)
    outermost: list[Middleware] = []
    if TRACES.tracer is None:
        observer = Observer(service, log)
    else:
        observer = TracedObserver(service, log)
        outermost.append(trace_requests)
    app = web.Application(
        middlewares=[*outermost, observer.middleware(), render_errors, *middlewares], client_max_size=max_body
    )
    app[SERVICE] = service
    app[OBSERVER] = observer
    app[HEALTH] = Health()
    app.on_response_prepare.append(stamp)
    app.on_startup.append(_show_routes)
    app.on_shutdown.append(_drain)
    app.on_cleanup.append(_flush(log))
    app.add_routes(ops_routes())
    return app


async def _show_routes(app: web.Application) -> None:
    routes = ((route.resource, route.method) for route in app.router.routes())
    app[OBSERVER].show(
        (resource.canonical, method) for resource, method in routes if resource is not None and method in _SHOWN
    )


async def _drain(app: web.Application) -> None:
    app[HEALTH].draining = True


def _flush(log: AccessLog) -> Callable[[web.Application], Awaitable[None]]:
    async def flush(_app: web.Application) -> None:
        log.flush()
        TALLY.flush()
        await TRACES.close()

    return flush
