"""The console: a page of built files, for everybody; what it shows comes from the API, with the reader's token."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from aiohttp import hdrs, web

from voice_common.errors import NotFound
from voice_gateway.answers import Form, choose_coding, none_match
from voice_gateway.handlers import CACHED
from voice_gateway.headers import combined

BUILT = Path(__file__).with_name("console_files")
"""Where ``make console`` puts what it builds; nothing of it is in the repository."""

VIEWS = ("/console", "/console/", "/console/conversations", "/console/conversations/{id:[^/]+}")
"""The addresses of the console's views: all of them are the same page, which shows what its address says."""

_SUFFIXES = {"br": ".br", "gzip": ".gz"}
_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".woff2": "font/woff2",
}
_POLICY = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "font-src": "'self'",
    "img-src": "'self' data:",
    "connect-src": "'self'",
    # Recordings are on whatever storage Telnyx or its customer chose: any https host may be played, none may be run.
    "media-src": "https:",
    "base-uri": "'none'",
    "form-action": "'none'",
    "frame-ancestors": "'none'",
}
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class BuiltFile:
    """One file of the console, in memory with the codings that were built beside it."""

    def __init__(self, path: Path, *, cache_control: str, policy: str) -> None:
        body = path.read_bytes()
        tag = hashlib.sha256(body).hexdigest()[:32]
        self._plain = Form(body, None, f'"{tag}"')
        self._forms = {
            coding: Form(encoded.read_bytes(), coding, f'"{tag}-{coding}"')
            for coding, suffix in _SUFFIXES.items()
            if (encoded := path.with_name(path.name + suffix)).is_file()
        }
        self._headers = {
            hdrs.CACHE_CONTROL: cache_control,
            hdrs.CONTENT_TYPE: _TYPES[path.suffix],
            hdrs.VARY: "Accept-Encoding",
            "Content-Security-Policy": policy,
            **_HEADERS,
        }

    async def answer(self, request: web.Request) -> web.Response:
        """Give the file in the best coding that the client takes, or 304 where it has it already."""
        request[CACHED] = True
        coding = choose_coding(combined(request.headers, hdrs.ACCEPT_ENCODING) or "identity")
        form = self._plain if coding is None else self._forms.get(coding, self._plain)
        headers = {**self._headers, hdrs.ETAG: form.etag}
        if none_match(request.headers.getall(hdrs.IF_NONE_MATCH, ()), form.etag):
            return web.Response(status=304, headers=headers)
        if form.coding is not None:
            headers[hdrs.CONTENT_ENCODING] = form.coding
        return web.Response(body=form.body, headers=headers)


def add_console(app: web.Application, built: Path = BUILT, *, media_origins: Sequence[str] = ()) -> None:
    """Serve the files that are in `built` now; where there are none, the console's addresses say how to make them.

    Recordings are played from `media_origins` too.
    """
    allowed = _POLICY | {"media-src": " ".join([_POLICY["media-src"], *media_origins])}
    policy = "; ".join(f"{kind} {sources}" for kind, sources in allowed.items())
    index = built / "index.html"
    page = BuiltFile(index, cache_control="no-cache", policy=policy).answer if index.is_file() else _not_built
    for view in VIEWS:
        app.router.add_get(view, page)
    app.router.add_get("/console/assets/{name}", _assets(built / "assets", policy))


def _assets(folder: Path, policy: str) -> Callable[[web.Request], Awaitable[web.Response]]:
    """Make the handler of files whose names hold a digest of what is in them: they never change."""
    files = {
        path.name: BuiltFile(path, cache_control="public, max-age=31536000, immutable", policy=policy)
        for path in folder.glob("*")
        if path.suffix in _TYPES
    }

    async def answer(request: web.Request) -> web.Response:
        file = files.get(request.match_info["name"])
        if file is None:
            raise NotFound
        return await file.answer(request)

    return answer


async def _not_built(_request: web.Request) -> web.Response:
    raise NotFound("The console is not built; run make console, then start the gateway again")
