"""What the webhooks service adds to the ``voice`` command."""
