"""Starts the gateway: ``voice-gateway``, or ``python -m voice_gateway``."""

from __future__ import annotations

from voice_common.serving import serve
from voice_common.settings import ServiceSettings
from voice_gateway.settings import GatewaySettings


def main() -> None:
    """Serve on the public port and on the internal one until SIGTERM."""
    serve("gateway", "voice_gateway.app:application", GatewaySettings, more_binds=_internal)


def _internal(settings: ServiceSettings) -> list[str]:
    port = settings.metrics_port if isinstance(settings, GatewaySettings) else 0
    return [f"{settings.host}:{port}"] if port else []


if __name__ == "__main__":
    main()
