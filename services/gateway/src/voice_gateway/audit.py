"""The audit log: each refused or failed authentication is one line, never with the token."""

from __future__ import annotations

import sys

import structlog

from voice_gateway.metrics import AUTH_FAILURES

_log = structlog.get_logger("voice.audit")


def authentication_failed(area: str, reason: str, address: str, *, slowed: bool, looked_for: str | None = None) -> None:
    """Note that a request for `area` from `address` failed to authenticate; `slowed`: it was answered with 429.

    `looked_for` names the claim of a JWT that was not found, or was wrong.
    """
    AUTH_FAILURES.labels(area, reason).inc()
    claim = {} if looked_for is None else {"looked_for": looked_for}
    _log.warning("authentication failed", area=area, reason=reason, address=address, slowed=slowed, **claim)


def scope_refused(area: str, scope: str, tenant: str, token: str, address: str) -> None:
    """Note that a good token lacks a scope."""
    AUTH_FAILURES.labels(area, "scope").inc()
    _log.warning("scope refused", area=area, scope=scope, tenant=tenant, token=token, address=address)


def token_changed(change: str, tenant: str, token: str, **facts: object) -> None:
    """Note on standard error that a command issued or revoked a token (`change`); `token` is its id.

    A terminal gets none: nobody keeps it there, and who typed the command reads what it prints.
    """
    if sys.stderr.isatty():
        return
    log = structlog.wrap_logger(
        structlog.PrintLogger(sys.stderr),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(),
        ],
    )
    log.info("token changed", service="gateway", change=change, tenant=tenant, token=token, **facts)
