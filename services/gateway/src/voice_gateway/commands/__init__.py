"""The gateway's subcommands of ``voice``."""
