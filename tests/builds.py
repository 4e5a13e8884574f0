"""A build of the services that is one version newer than this one: a copy of the sources with other documents."""

from __future__ import annotations

import shutil
from pathlib import Path

import voice_analytics
import voice_common
import voice_webhooks

_PACKAGES = (voice_common, voice_analytics, voice_webhooks)
_LAST_NAME = '    CONVERSATIONS = "conversations"\n\n\n'
_CHANGES = {
    "voice_common/store/conversations.py": [
        ('"version": VERSION,', '"version": VERSION, "made_by": "newer",'),
        ('"state": state.to_document(),', '"state": {**state.to_document(), "of_newer": [1]},'),
        ("VERSION = ", "VERSION = 1 + "),
    ],
    "voice_common/store/tenants.py": [
        (f"{_LAST_NAME}class ClaimKind", f'{_LAST_NAME.rstrip()}\n    EXPORTS = "exports"\n\n\nclass ClaimKind'),
        (f"{_LAST_NAME}DEFAULT", f'{_LAST_NAME.rstrip()}\n    RECORDINGS = "recordings"\n\n\nDEFAULT'),
    ],
    "voice_analytics/rollups.py": [("VERSION = 1\n", "VERSION = 2\n")],
}


def newer_build(folder: Path) -> dict[str, str]:
    """Make the build in `folder`; give the variable of the environment by which a process runs it."""
    for package in _PACKAGES:
        assert package.__file__ is not None
        source = Path(package.__file__).parent
        shutil.copytree(source, folder / source.name, ignore=shutil.ignore_patterns("__pycache__"))
    for name, changes in _CHANGES.items():
        file = folder / name
        text = file.read_text()
        for old, new in changes:
            assert text.count(old) == 1, f"{name} has {text.count(old)} times {old!r}"
            text = text.replace(old, new)
        file.write_text(text)
    return {"PYTHONPATH": str(folder)}
