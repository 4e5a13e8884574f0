"""The tutorial works: every command in it is run, in its order, against a running system."""

from __future__ import annotations

import asyncio
import base64
import os
import re
import subprocess
import textwrap
from pathlib import Path

from e2e_factories import VOICE, RunningStack
from nacl.signing import SigningKey
from telnyx_factories import KEY, running_telnyx

APPLICATION = "1494404757140276799"
ROOT = Path(__file__).parents[2]
_BLOCK = re.compile(r"^( *)```(bash|python|js)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
_RUN = {
    "bash": "{}",
    "python": "python3 - <<'END_OF_PYTHON'\n{}END_OF_PYTHON",
    "js": "node --input-type=module - <<'END_OF_SCRIPT'\n{}END_OF_SCRIPT",
}


def commands() -> list[str]:
    """Give the tutorial's blocks as pieces of one shell script."""
    text = (ROOT / "docs" / "tutorial.md").read_text()
    return [_RUN[kind].format(textwrap.dedent(block)) for _, kind, block in _BLOCK.findall(text)]


async def test_every_command_of_the_tutorial_works(stack: RunningStack, tmp_path: Path) -> None:
    key = base64.b64encode(bytes(SigningKey.generate().verify_key)).decode()
    pieces = commands()
    assert len(pieces) >= 10
    script = tmp_path / "tutorial.sh"
    script.write_text("set -euo pipefail\n" + "\n".join(f"echo '== {n}'\n{piece}" for n, piece in enumerate(pieces)))
    # Where the reader's system is, and what only the reader has.
    text = script.read_text().replace("VOICE_DATA_DIR=.voice", f"VOICE_DATA_DIR={stack.data}")
    script.write_text(text.replace("http://127.0.0.1:8080", stack.base_url))
    async with running_telnyx() as telnyx:
        telnyx.add(APPLICATION)
        telnyx.public_key = key
        ran = await run(
            script,
            TELNYX_PUBLIC_KEY=key,
            APPLICATION=APPLICATION,
            PUBLIC_URL="https://voice.example.com",
            VOICE_TELNYX_API_KEY=KEY,
            VOICE_TELNYX_API_URL=telnyx.url,
            PATH=f"{Path(VOICE).parent}:{os.environ['PATH']}",
        )
    assert ran.returncode == 0, ran.stdout[-3000:] + ran.stderr[-3000:]
    assert re.search(r"^\d+ calls, \d+ completed$", ran.stdout, re.MULTILINE)
    assert "asked again: 304" in ran.stdout
    assert telnyx.applications[APPLICATION]["webhook_event_url"].startswith("https://voice.example.com/api/")


async def run(script: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("VOICE_")}

    def work() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", str(script)],
            cwd=ROOT,
            env=inherited | environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return await asyncio.to_thread(work)
