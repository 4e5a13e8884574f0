"""Subcommands of `voice` that the local stack brings."""

SUMMARIES = {
    "simulate": "Send realistic signed calls through a running local stack.",
    "up": "Start the whole system on this machine; Ctrl-C stops it.",
}
"""What `voice --help` says of the commands, without importing them."""
