"""The console's files as the gateway serves them; what they do is tested in a browser, in tests/console."""

from __future__ import annotations

import gzip
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import brotli  # type: ignore[import-untyped]
import pytest
from gateway_factories import Gateway, RunGateway
from pytest_aiohttp import AiohttpClient

from voice_common.web.app import make_app
from voice_gateway import console

PAGE = "<!doctype html><title>Voice</title>"
SCRIPT = "console.log('hello');\n" * 20
DECODE: dict[str | None, Callable[[bytes], bytes]] = {"br": brotli.decompress, "gzip": gzip.decompress, None: bytes}
VIEWS = ("/console", "/console/", "/console/conversations", "/console/conversations/c-1?range=7d")


@pytest.fixture
async def gateway(run_gateway: RunGateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Gateway]:
    """Give a gateway with a small console, whatever is built here."""
    assets = tmp_path / "assets"
    assets.mkdir()
    for path, text in ((tmp_path / "index.html", PAGE), (assets / "app-0A.js", SCRIPT)):
        path.write_text(text)
        path.with_name(path.name + ".br").write_bytes(brotli.compress(text.encode()))
        path.with_name(path.name + ".gz").write_bytes(gzip.compress(text.encode()))
    (assets / "inter-0B.woff2").write_bytes(b"wOF2")
    monkeypatch.setattr(console.add_console, "__defaults__", (tmp_path,))
    async with run_gateway() as made:
        yield made


@pytest.mark.parametrize("path", VIEWS)
async def test_each_view_is_the_same_page_for_everybody(gateway: Gateway, path: str) -> None:
    reply = await gateway.get(path)
    assert reply.status == 200
    assert reply.body == PAGE.encode()
    assert reply.headers["Content-Type"] == "text/html; charset=utf-8"
    assert reply.headers["Cache-Control"] == "no-cache"
    assert "X-RateLimit-Limit" not in reply.headers


async def test_a_page_that_the_browser_has_is_not_sent_again(gateway: Gateway) -> None:
    first = await gateway.get("/console")
    again = await gateway.get("/console", headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status, again.body) == (304, b"")
    assert again.headers["ETag"] == first.headers["ETag"]
    other = await gateway.get("/console", headers={"If-None-Match": '"other"'})
    assert other.status == 200


async def test_recordings_are_played_from_origins_that_are_named_too(
    run_gateway: RunGateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "index.html").write_text(PAGE)
    monkeypatch.setattr(console.add_console, "__defaults__", (tmp_path,))
    async with run_gateway(console_media_origins=["http://127.0.0.1:9", "http://files.internal"]) as made:
        policy = (await made.get("/console")).headers["Content-Security-Policy"]
    assert "media-src https: http://127.0.0.1:9 http://files.internal;" in policy


async def test_nothing_runs_frames_or_is_asked_from_elsewhere(gateway: Gateway) -> None:
    for path in ("/console", "/console/assets/app-0A.js"):
        headers = (await gateway.get(path)).headers
        policy = dict(part.strip().partition(" ")[::2] for part in headers["Content-Security-Policy"].split(";"))
        assert policy == {
            "default-src": "'none'",
            "script-src": "'self'",
            "style-src": "'self'",
            "font-src": "'self'",
            "img-src": "'self' data:",
            "connect-src": "'self'",
            "media-src": "https:",
            "base-uri": "'none'",
            "form-action": "'none'",
            "frame-ancestors": "'none'",
        }
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "no-referrer"


@pytest.mark.parametrize(("accepted", "coding"), [("gzip, br", "br"), ("gzip", "gzip"), ("identity", None)])
async def test_an_asset_comes_in_the_best_coding_and_is_kept_for_ever(
    gateway: Gateway, accepted: str, coding: str | None
) -> None:
    reply = await gateway.get("/console/assets/app-0A.js", headers={"Accept-Encoding": accepted})
    assert DECODE[coding](reply.body) == SCRIPT.encode()
    assert reply.headers.get("Content-Encoding") == coding
    assert reply.headers["Content-Type"] == "text/javascript; charset=utf-8"
    assert reply.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert reply.headers["Vary"] == "Accept-Encoding"


async def test_each_coding_has_a_tag_of_its_own(gateway: Gateway) -> None:
    tags = {
        (await gateway.get("/console", headers={"Accept-Encoding": coding})).headers["ETag"]
        for coding in ("br", "gzip", "identity")
    }
    assert len(tags) == 3


async def test_a_file_without_codings_comes_as_it_is(gateway: Gateway) -> None:
    reply = await gateway.get("/console/assets/inter-0B.woff2", headers={"Accept-Encoding": "br"})
    assert (reply.body, reply.headers["Content-Type"]) == (b"wOF2", "font/woff2")
    assert "Content-Encoding" not in reply.headers


@pytest.mark.parametrize(
    "path",
    [
        "/console/nothing",
        "/console/conversations/c-1/messages",
        "/console/assets/",
        "/console/assets/app-0A.js.br",
        "/console/assets/none.js",
        "/console/index.html",
    ],
)
async def test_what_is_no_view_and_no_asset_is_not_found(gateway: Gateway, path: str) -> None:
    reply = await gateway.get(path)
    assert (reply.status, reply.json()) == (404, {"error": "Not found"})
    assert reply.headers["Cache-Control"] == "private, no-store"


@pytest.mark.parametrize("path", ["/console", "/console/conversations/c-1", "/console/assets/app-0A.js"])
async def test_only_reading_is_allowed(gateway: Gateway, path: str) -> None:
    reply = await gateway.get(path, method="POST")
    assert (reply.status, reply.json()) == (405, {"error": "Method not allowed"})
    assert set(reply.headers["Allow"].split(",")) == {"GET", "HEAD"}
    head = await gateway.get(path, method="HEAD")
    assert (head.status, head.body) == (200, b"")


@pytest.mark.parametrize("path", VIEWS)
async def test_a_view_without_a_built_console_says_how_to_build_it(
    aiohttp_client: AiohttpClient, tmp_path: Path, path: str
) -> None:
    app = make_app("gateway")
    console.add_console(app, tmp_path / "nothing")
    client = await aiohttp_client(app)
    answer = await client.get(path)
    assert answer.status == 404
    body = await answer.json()
    assert body == {"error": "The console is not built; run make console, then start the gateway again"}
