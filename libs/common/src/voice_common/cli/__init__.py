"""The ``voice`` command, and what its subcommands are made of.

Each package contributes through entry points: ``voice.commands`` are its subcommands, ``voice.summaries`` is what
`voice --help` says of them, and ``voice.checks`` is what `voice doctor` looks at. Nothing here imports what takes
long before it is needed, so that help and completion come at once.
"""

from voice_common.cli.at_work import patience
from voice_common.cli.options import DATA_DIR_VARIABLE, CommandError, CommandGroup, WrongUsageError, common_options
from voice_common.cli.output import print_json, print_table, progress
from voice_common.cli.root import main
from voice_common.cli.store import mongo_url_of, read_stack, require_tenant, with_store

__all__ = [
    "DATA_DIR_VARIABLE",
    "CommandError",
    "CommandGroup",
    "WrongUsageError",
    "common_options",
    "main",
    "mongo_url_of",
    "patience",
    "print_json",
    "print_table",
    "progress",
    "read_stack",
    "require_tenant",
    "with_store",
]
