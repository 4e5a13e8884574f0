"""The intake: verifies, stores and projects Telnyx webhooks."""
