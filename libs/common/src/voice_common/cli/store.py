"""The store that a command works on: a running local stack's, or the one that the settings name."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from voice_common.cli.at_work import patience
from voice_common.cli.options import CommandError

if TYPE_CHECKING:
    from voice_common.mongo import Database

T = TypeVar("T")
LOCAL = Path(".voice")
"""Where a local stack's data is unless somebody says otherwise."""

_STORE_SECONDS = 10
REACHED_SECONDS = 2.0
"""How long a command waits for a store to answer at all; what it does there may take longer."""


def read_stack(data_dir: Path) -> dict[str, Any]:
    """Give the ``stack.json`` of a running local stack; raise `CommandError` where none runs."""
    file = data_dir / "stack.json"
    try:
        stack: dict[str, Any] = json.loads(file.read_text())
    except (FileNotFoundError, NotADirectoryError):
        message = f"No stack is running on {data_dir}; start it with: voice up --data-dir {data_dir}"
        raise CommandError(message) from None
    except OSError as error:
        raise CommandError(f"{file} can't be read: {error.strerror}") from None
    except ValueError:
        raise CommandError(f"{file} is damaged; start the stack again with: voice up --data-dir {data_dir}") from None
    return stack


def stack_of(data_dir: Path | None) -> dict[str, Any] | None:
    """Give the local stack that a command works on, or ``None`` where the settings name a store."""
    if data_dir is not None:
        return read_stack(data_dir)
    if "VOICE_MONGO_URL" not in os.environ and (LOCAL / "stack.json").is_file():
        return read_stack(LOCAL)
    return None


def mongo_url_of(data_dir: Path | None) -> str:
    """Give the URL of the store that a command works on: a local stack's, else ``VOICE_MONGO_URL``."""
    from voice_common.settings import StoreSettings, load  # noqa: PLC0415 - see the package

    stack = stack_of(data_dir)
    return load(StoreSettings).mongo_url if stack is None else str(stack["mongo_url"])


def with_store(data_dir: Path | None, work: Callable[[Database], Awaitable[T]]) -> T:
    """Run `work` with the store that ``--data-dir`` or the settings name."""
    import asyncio  # noqa: PLC0415 - see the package

    import pymongo  # noqa: PLC0415 - see the package

    from voice_common.mongo import connect, ping  # noqa: PLC0415 - see the package
    from voice_common.settings import StoreSettings, load  # noqa: PLC0415 - see the package

    _log_to_stderr()

    async def run() -> T:
        client = connect(mongo_url_of(data_dir), timeout_seconds=_STORE_SECONDS)
        database = client[load(StoreSettings).mongo_database]
        try:
            with pymongo.timeout(REACHED_SECONDS):
                await ping(database)
            return await work(database)
        finally:
            await client.close()

    with patience("working on the store"):
        return asyncio.run(run())


def _log_to_stderr() -> None:
    """Keep what the services' code logs out of a command's answer, which may be one JSON document."""
    import structlog  # noqa: PLC0415 - see the package

    structlog.configure(logger_factory=lambda *_: structlog.PrintLogger(sys.stderr))


async def require_tenant(database: Database, tenant: str) -> None:
    """Raise `CommandError` unless there is such a tenant."""
    from voice_common.store.tenants import TenantStore  # noqa: PLC0415 - see the package

    if await TenantStore(database).find(tenant) is None:
        raise CommandError(f"There is no tenant {tenant}; see: voice tenant list")
