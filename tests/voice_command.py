"""The ``voice`` command in this process: each run has a thread, and so an event loop, of its own."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

from click.testing import CliRunner, Result

from voice_common.cli import main


class Voice:
    """Runs commands with `environment` in place of this process' own ``VOICE_`` variables."""

    def __init__(self, environment: Mapping[str, str | None]) -> None:
        self.environment = {"VOICE_DATA_DIR": None, "VOICE_MONGO_URL": None, **environment}

    async def __call__(self, *words: str, stdin: bytes | None = None) -> Result:
        result = await asyncio.to_thread(
            CliRunner().invoke, main, list(words), input=stdin, env=self.environment, prog_name="voice"
        )
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    async def json(self, *words: str, exit_code: int = 0) -> Any:
        result = await self(*words, "--json")
        assert result.exit_code == exit_code, result.output
        # A service of the test logs to the same standard output while a command runs.
        return json.loads("\n".join(line for line in result.stdout.splitlines() if not line.startswith('{"')))

    async def refused(self, *words: str, exit_code: int = 1, stdin: bytes | None = None) -> str:
        """Run what can't be done; give the one sentence that says so."""
        result = await self(*words, stdin=stdin)
        assert result.exit_code == exit_code, result.output
        assert "Traceback" not in result.output
        return result.stderr.strip()
