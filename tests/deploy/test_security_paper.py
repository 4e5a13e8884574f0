from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAPER = (ROOT / "SECURITY.md").read_text()


def test_every_entry_of_owasps_list_is_guarded_by_a_test_that_is_there() -> None:
    rows = re.findall(r"^\| API(\d+) [^|]*\|[^|]*\|([^|]*)\|$", PAPER, re.MULTILINE)
    assert [int(number) for number, _ in rows] == list(range(1, 11))
    for number, cell in rows:
        named = re.findall(r"`([^`:]+)::(\w+)`", cell)
        assert named, f"API{number} names no test"
        for path, test in named:
            assert re.search(rf"^(async )?def {test}\(", (ROOT / path).read_text(), re.MULTILINE), f"{path}::{test}"


def test_every_test_that_the_paper_names_is_there() -> None:
    named = set(re.findall(r"`(tests/[^`:]+)", PAPER))
    assert len(named) > 10
    assert [path for path in named if not (ROOT / path).exists()] == []
