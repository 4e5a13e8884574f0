"""A pass-through as a team would write it with FastAPI and httpx, to the service that `UPSTREAM` names; for uvicorn."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
from fastapi import FastAPI, Request, Response

_OWN = frozenset({"connection", "keep-alive", "transfer-encoding", "content-length", "date", "server"})
_LIMITS = httpx.Limits(max_connections=None, max_keepalive_connections=None, keepalive_expiry=30)
_client = httpx.AsyncClient(base_url=os.environ["UPSTREAM"], limits=_LIMITS)


@asynccontextmanager
async def _lifespan(_app: FastAPI) -> AsyncIterator[None]:
    yield
    await _client.aclose()


app = FastAPI(lifespan=_lifespan, openapi_url=None)


@app.api_route("/{path:path}", methods=["GET", "HEAD"])
async def forward(request: Request) -> Response:
    """Pass a request on and its answer back."""
    headers = [(name, value) for name, value in request.headers.items() if name != "host"]
    answer = await _client.request(request.method, request.url.path, params=request.url.query, headers=headers)
    kept = {name: value for name, value in answer.headers.items() if name not in _OWN}
    return Response(answer.content, answer.status_code, kept)
