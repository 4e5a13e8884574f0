"""What an event contributes to its call's state: pure functions, one module for each kind of event."""

from voice_webhooks.contribution.dispatch import contribution_of

__all__ = ["contribution_of"]
