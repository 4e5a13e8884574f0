"""What the webhooks service adds to the ``voice`` command."""

SUMMARIES = {
    "events": "Look into the event store and the quarantine; export and import.",
    "rebuild": "Make read models again from the events, while the system runs.",
    "telnyx": "Check and set where Telnyx sends its webhooks.",
}
"""What `voice --help` says of the commands, without importing them."""
