"""Subcommands of `voice` that the local stack brings."""
