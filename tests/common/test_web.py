"""What every service's application does: request ids, errors of the contract, the operators' routes."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiohttp import ClientResponse, web
from aiohttp.test_utils import TestClient, TestServer
from pymongo.errors import (
    AutoReconnect,
    ExecutionTimeout,
    NetworkTimeout,
    OperationFailure,
    ServerSelectionTimeoutError,
)

from voice_common.errors import (
    BadGateway,
    BadRequest,
    ContentTooLarge,
    Forbidden,
    GatewayTimeout,
    NotFound,
    TooManyRequests,
    Unauthorized,
    Unavailable,
    VoiceError,
    missing_tenant_context,
)
from voice_common.identity import IDENTITY_HEADER, Identity, IdentitySigner, IdentityVerifier, new_key_pair
from voice_common.web.app import make_app
from voice_common.web.callers import IDENTITY_VERIFIER, for_tenant
from voice_common.web.health import HEALTH
from voice_common.web.render import json_response

Client = TestClient[Any, Any]
PRIVATE, PUBLIC = new_key_pair()
SECRET = "password=hunter2"
NOBODY = "Missing tenant context for analytics request"


class Broken:
    """Raises what the test says."""

    error: Exception = VoiceError()


async def _raise(_request: web.Request) -> web.Response:
    raise Broken.error


async def _hello(_request: web.Request) -> web.Response:
    return json_response({"greeting": "hé"})


async def _size(request: web.Request) -> web.Response:
    return json_response({"bytes": len(await request.read())})


async def _stream(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    await response.write(b"part")
    return response


@for_tenant("analytics")
async def _mine(_request: web.Request, tenant: str) -> web.StreamResponse:
    return json_response({"tenant": tenant})


@pytest.fixture
async def client(aiohttp_client: Callable[[TestServer], Awaitable[Client]]) -> Client:
    app = make_app("sample", max_body=1000)
    app[IDENTITY_VERIFIER] = IdentityVerifier([PUBLIC], "sample")
    app.add_routes(
        [
            web.get("/hello", _hello),
            web.get("/broken", _raise),
            web.post("/size", _size),
            web.get("/stream", _stream),
            web.get("/mine", _mine),
        ]
    )
    return await aiohttp_client(TestServer(app))


async def shown(answer: ClientResponse) -> tuple[int, Any]:
    assert answer.headers["Content-Type"] == "application/json; charset=utf-8"
    return answer.status, await answer.json()


@pytest.mark.parametrize(
    "error",
    [
        BadRequest("limit is wrong"), missing_tenant_context("analytics"), Forbidden("No"), NotFound(),
        ContentTooLarge(), TooManyRequests(), BadGateway(), Unavailable(retry_after=7), GatewayTimeout(),
        Unauthorized(),
    ],
)  # fmt: skip
async def test_an_error_of_the_family_is_its_status_and_one_sentence(client: Client, error: VoiceError) -> None:
    Broken.error = error
    async with client.get("/broken") as answer:
        assert await shown(answer) == (error.status, {"error": error.message})
        for name, value in error.headers.items():
            assert answer.headers[name] == value
    if isinstance(error, Unavailable):
        assert answer.headers["Retry-After"] == "7"


@pytest.mark.parametrize(
    "error", [RuntimeError(SECRET), KeyError(SECRET), OSError(SECRET), OperationFailure(SECRET, 2)]
)
async def test_an_unknown_exception_shows_no_detail(
    client: Client, error: Exception, capsys: pytest.CaptureFixture[str]
) -> None:
    Broken.error = error
    async with client.get("/broken") as answer:
        assert await shown(answer) == (500, {"error": "Internal server error"})
        assert SECRET not in str(answer.headers)
    logged = capsys.readouterr()
    assert SECRET in logged.out + logged.err  # the detail is in the log


@pytest.mark.parametrize(
    "error",
    [ServerSelectionTimeoutError(SECRET), AutoReconnect(SECRET), NetworkTimeout(SECRET), ExecutionTimeout(SECRET, 50)],
)
async def test_a_store_that_is_down_is_a_503_with_retry_after(client: Client, error: Exception) -> None:
    Broken.error = error
    async with client.get("/broken") as answer:
        assert await shown(answer) == (503, {"error": "Service unavailable"})
        assert int(answer.headers["Retry-After"]) >= 1


@pytest.mark.parametrize("target", ["/", "/nothing", "/hello/", "/HELLO"])
async def test_an_unknown_route_is_not_found(client: Client, target: str) -> None:
    async with client.get(target) as answer:
        assert await shown(answer) == (404, {"error": "Not found"})


async def test_another_method_is_a_405_with_allow(client: Client) -> None:
    async with client.post("/hello") as answer:
        assert await shown(answer) == (405, {"error": "Method not allowed"})
        assert set(answer.headers["Allow"].split(",")) == {"GET", "HEAD"}


async def _chunks() -> Any:
    for _ in range(11):
        yield b"x" * 100


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_over_the_limit_is_a_413_chunked_or_not(
    client: Client,
    chunked: bool,  # noqa: FBT001 - a table
) -> None:
    async with client.post("/size", data=_chunks() if chunked else b"x" * 1001) as answer:
        assert await shown(answer) == (413, {"error": "Request body is too large"})
    async with client.post("/size", data=b"x" * 1000) as answer:
        assert await shown(answer) == (200, {"bytes": 1000})


async def test_a_body_is_json_in_utf_8(client: Client) -> None:
    async with client.get("/hello") as answer:
        assert await answer.read() == '{"greeting":"hé"}'.encode()


@pytest.mark.parametrize(("method", "target"), [("GET", "/hello"), ("GET", "/nothing"), ("POST", "/hello"),
                                                ("GET", "/stream"), ("GET", "/broken"), ("GET", "/livez")])  # fmt: skip
async def test_every_response_carries_the_clients_request_id(client: Client, method: str, target: str) -> None:
    Broken.error = RuntimeError()
    async with client.request(method, target, headers={"X-Request-ID": "my-id_1.2"}) as answer:
        assert answer.headers.getall("X-Request-ID") == ["my-id_1.2"]


@pytest.mark.parametrize("sent", [None, "", "x" * 129, "a b", "a:b", "é"])
async def test_a_response_carries_a_new_request_id_where_the_clients_is_none(client: Client, sent: str | None) -> None:
    given = set()
    for _ in range(2):
        async with client.get("/hello", headers={} if sent is None else {"X-Request-ID": sent}) as answer:
            given.add(answer.headers["X-Request-ID"])
    assert len(given) == 2
    assert all(re.fullmatch(r"[A-Za-z0-9._-]{1,128}", one) for one in given)


async def test_the_request_id_and_tenant_are_on_the_log_line(
    client: Client, capsys: pytest.CaptureFixture[str]
) -> None:
    header = IdentitySigner(PRIVATE).sign(Identity("acme", frozenset({"analytics:read"}), "r"), "sample")
    async with client.get("/mine", headers={"X-Request-ID": "find-me", IDENTITY_HEADER: header}) as answer:
        assert await shown(answer) == (200, {"tenant": "acme"})
    await client.close()  # what is left of the log is written
    line = next(line for line in capsys.readouterr().err.splitlines() if "find-me" in line)
    assert "acme" in line
    assert header not in line


@pytest.mark.parametrize(
    ("identity", "service", "status", "sentence"),
    [
        (None, "sample", 401, NOBODY),
        (Identity(None, frozenset({"analytics:read"}), "r"), "sample", 401, NOBODY),
        (Identity("acme", frozenset({"analytics:read"}), "r"), "other", 401, NOBODY),
        (Identity("acme", frozenset({"recordings:read"}), "r"), "sample", 403, "Token lacks scope analytics:read"),
    ],
)  # fmt: skip
async def test_a_tenants_route_is_for_a_signed_tenant_with_the_scope(
    client: Client, identity: Identity | None, service: str, status: int, sentence: str
) -> None:
    headers = {} if identity is None else {IDENTITY_HEADER: IdentitySigner(PRIVATE).sign(identity, service)}
    async with client.get("/mine", headers=headers) as answer:
        assert await shown(answer) == (status, {"error": sentence})


async def test_livez_looks_at_no_dependency_and_readyz_names_each(client: Client) -> None:
    async def good() -> None:
        return

    async def bad() -> None:
        raise ConnectionError(SECRET)

    health = client.app[HEALTH] if client.app is not None else pytest.fail("no app")
    health.add("mongo", good)
    async with client.get("/readyz") as answer:
        assert await shown(answer) == (200, {"status": "ok", "checks": {"mongo": "ok"}})
    health.add("redis", bad)
    async with client.get("/readyz") as answer:
        checks = {"mongo": "ok", "redis": "ConnectionError"}
        assert await shown(answer) == (503, {"status": "unavailable", "checks": checks})
    async with client.get("/livez") as answer:
        assert await shown(answer) == (200, {"status": "ok"})


async def test_readyz_turns_503_when_the_service_drains(client: Client) -> None:
    assert client.app is not None
    client.app[HEALTH].draining = True
    async with client.get("/readyz") as answer:
        assert answer.status == 503
    async with client.get("/livez") as answer:
        assert answer.status == 200


async def test_metrics_count_requests_by_route_never_by_path(client: Client) -> None:
    async with client.get("/nothing-of-the-kind"), client.get("/hello"):
        pass
    async with client.get("/metrics") as answer:
        assert answer.headers["Content-Type"].startswith("text/plain")
        text = await answer.text()
    assert 'voice_http_requests_total{method="GET",route="/hello",status="200"}' in text
    assert "nothing-of-the-kind" not in text


async def test_a_logged_line_is_one_json_object(capsys: pytest.CaptureFixture[str]) -> None:
    import logging  # noqa: PLC0415 - the handlers below are put back

    import structlog  # noqa: PLC0415 - as above

    from voice_common.telemetry.logs import configure_logs  # noqa: PLC0415 - as above

    handlers, level = logging.root.handlers[:], logging.root.level
    configured = structlog.get_config()
    try:
        configure_logs("sample", "info")
        structlog.get_logger("x").info("happened", request_id="r-1", moment=object)
        logging.getLogger("library").warning("said %s", "this")
    finally:
        logging.root.handlers[:] = handlers
        logging.root.setLevel(level)
        structlog.configure(**configured)
    first, second = (json.loads(line) for line in capsys.readouterr().err.splitlines())
    assert (first["event"], first["request_id"], first["service"], first["level"]) == (
        "happened", "r-1", "sample", "info",
    )  # fmt: skip
    assert (second["event"], second["service"], second["level"]) == ("said this", "sample", "warning")
