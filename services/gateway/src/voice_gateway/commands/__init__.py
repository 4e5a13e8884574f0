"""The gateway's subcommands of ``voice``."""

SUMMARIES = {
    "tenant": "Create, show, change and delete tenants.",
    "token": "Issue, list and revoke API tokens.",
}
"""What `voice --help` says of the commands, without importing them."""
