"""The private names of aiohttp that are used: each is there in what is installed, and there are no others.

aiohttp promises nothing of them, so a new minor release of it is let in on purpose, with these tests.
"""

from __future__ import annotations

import ast
import asyncio
import re
from pathlib import Path

import pytest
from aiohttp import http_writer, web, web_protocol
from aiohttp.test_utils import make_mocked_request

ROOT = Path(__file__).resolve().parents[2]
USED: dict[str, frozenset[str]] = {
    "aiohttp.web_protocol": frozenset({"_ErrInfo"}),
    "aiohttp.http_writer": frozenset({"_py_serialize_headers", "_serialize_headers"}),
    "web.RequestHandler": frozenset(
        {"_force_close", "_loop", "_messages", "_next_keepalive_close_time", "_request_count", "_waiter"}
    ),
    "web.Server": frozenset({"_loop", "_kwargs"}),
    "web.AppRunner": frozenset({"_kwargs", "_make_server"}),
    "web.Application": frozenset({"_handle", "_make_request"}),
    "web.Request": frozenset({"_match_info", "_prepare_hook", "_version"}),
    "web.StreamResponse": frozenset({"_status"}),
}
OTHERS = frozenset(
    {"_buckets", "_sum", "_upper_bounds", "_parser", "_reader", "_fields", "_make", "_replace", "_Decompress", "_exit"}
)
"""Names that begin alike and are not aiohttp's: of prometheus-client and redis, of named tuples, zlib and os."""


async def _handler(_request: web.BaseRequest) -> web.StreamResponse:
    return web.Response()


async def test_each_private_name_of_aiohttp_that_is_used_is_there() -> None:
    app = web.Application()
    server = web.Server(_handler)
    owners: dict[str, object] = {
        "aiohttp.web_protocol": web_protocol,
        "aiohttp.http_writer": http_writer,
        "web.RequestHandler": web_protocol.RequestHandler(server, loop=asyncio.get_running_loop()),
        "web.Server": server,
        "web.AppRunner": web.AppRunner(app),
        "web.Application": app,
        "web.Request": make_mocked_request("GET", "/"),
        "web.StreamResponse": web.StreamResponse(),
    }
    assert {
        f"{owner}.{name}" for owner, names in USED.items() for name in names if not hasattr(owners[owner], name)
    } == (set())


def test_no_other_private_name_is_used() -> None:
    known = OTHERS.union(*USED.values())
    found = {
        f"{path.relative_to(ROOT)}: {name}"
        for folder in ("libs", "services", "deploy")
        for path in (ROOT / folder).glob("*/src/**/*.py")
        for name in _foreign_names(path) - known
    }
    assert found == set()


def _foreign_names(path: Path) -> set[str]:
    """Give the private names that a module uses of what it did not define itself."""
    used: set[str] = set()
    own: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            own.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            own.add(node.id)
        elif isinstance(node, ast.Attribute):
            (own if isinstance(node.ctx, ast.Store) else used).add(node.attr)
        elif isinstance(node, ast.ImportFrom) and not (node.module or "").startswith("voice"):
            used.update(alias.name for alias in node.names)
    return {name for name in used - own if re.match("_[^_]", name)}


@pytest.mark.parametrize("project", sorted(ROOT.glob("*/*/pyproject.toml")), ids=lambda path: path.parent.name)
def test_aiohttp_is_bounded_from_above(project: Path) -> None:
    needs = re.findall(r'"(aiohttp[<>=~!].*?)"', project.read_text())
    assert all(re.search(r"<\d+\.\d+", need) for need in needs), needs
