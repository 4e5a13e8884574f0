"""Which worker of pytest-xdist runs which tests, and when: a file at a time, and all that share a stack together."""

from __future__ import annotations

from xdist.scheduler import LoadScopeScheduling

_SHARE_A_STACK = ("tests/console/", "tests/e2e/")
_ON_THEIR_OWN = ("least_privilege.py", "lifecycle.py", "simulation.py", "traces.py", "units.py", "whole_path.py")
_FIRST = ("tests/chaos/test_histories.py", "tests/console/", "tests/e2e/", "tests/chaos/", "tests/deploy/")


class Distribution(LoadScopeScheduling):  # type: ignore[misc] # xdist has no types
    """Hands out files in the order in which they were collected; those that share a stack are one."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        if file.endswith(_ON_THEIR_OWN):
            return file
        return next((folder for folder in _SHARE_A_STACK if file.startswith(folder)), file)


def place_of(nodeid: str) -> int:
    """Give a sort key: what takes long comes first, so that no worker is alone with it at the end."""
    return next((place for place, start in enumerate(_FIRST) if nodeid.startswith(start)), len(_FIRST))
