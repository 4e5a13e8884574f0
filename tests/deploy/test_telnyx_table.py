"""Every row of the table of what Telnyx sends names a test that exists."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
COLUMNS = 5
ROWS = [line for line in (ROOT / "docs/telnyx.md").read_text().splitlines() if line.startswith("|")][2:]


def test_the_table_has_rows_and_no_row_twice() -> None:
    assert ROWS
    assert len(set(ROWS)) == len(ROWS)


@pytest.mark.parametrize("row", ROWS)
def test_a_row_names_a_test_that_exists(row: str) -> None:
    cells = [cell.strip() for cell in row.strip("|").split(" | ")]
    assert len(cells) == COLUMNS, row
    path, _, name = cells[-1].strip("`").partition("::")
    tree = ast.parse((ROOT / path).read_text())
    names = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    assert name.startswith("test_")
    assert name in names, row
