"""Runs the webhooks service under gunicorn."""

from __future__ import annotations

from voice_common.serving import serve
from voice_webhooks.settings import WebhooksSettings


def main() -> None:
    """Run until SIGTERM."""
    serve("webhooks", "voice_webhooks.app:application", WebhooksSettings)


if __name__ == "__main__":
    main()
