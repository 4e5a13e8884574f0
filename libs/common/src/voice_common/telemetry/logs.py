"""Logs: one JSON object a line on standard error, with the request's id and tenant."""

from __future__ import annotations

import io
import logging
import sys

import orjson
import structlog

from voice_common.telemetry.failures import ExcInfo, without_reprs, write_safely


def _dumps(event: object, **_: object) -> str:
    return orjson.dumps(event, default=str).decode()


def _formatted(exc_info: ExcInfo) -> str:
    output = io.StringIO()
    write_safely(output, exc_info)
    return output.getvalue()


def configure_logs(service: str, level: str) -> None:
    """Send structured and standard-library logs of this process to standard error as JSON lines."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.ExceptionRenderer(_formatted),
        _named(service),
    ]
    structlog.configure(
        processors=[*shared, structlog.processors.JSONRenderer(serializer=_dumps)],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[without_reprs, *shared],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(serializer=_dumps),
            ],
        )
    )
    logging.basicConfig(
        handlers=[handler], level=max(logging.INFO, logging.getLevelNamesMapping()[level.upper()]), force=True
    )


def _named(service: str) -> structlog.typing.Processor:
    def add(_logger: object, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
        event["service"] = service
        return event

    return add
