"""Nobody sees what is not theirs: every route of the API's own description, asked with every kind of credentials.

Rows and columns are made from the document, so a new route is covered without anyone remembering.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from e2e_factories import Customer, World, jwt_of, token_of, until

from voice_common.store.tenants import AreaName
from voice_gateway.areas import SCOPES
from voice_gateway.tokens import TokenStore
from voice_local.simulation.delivery import planned

KINDS = ("API token", "JWT")
HELD = {"no scope": (), **{scope: (scope,) for scope in SCOPES}, "all scopes": SCOPES}
OF_A_CONVERSATION = {"id", "conversationId"}
UNKNOWN = "00000000-0000-4000-8000-000000000000"
OF_THE_MOMENT = {"Date", "X-Request-ID", "X-RateLimit-Remaining", "X-RateLimit-Reset", "RateLimit", "Age", "X-Cache"}


@dataclass(frozen=True)
class Operation:
    """One operation of the document."""

    method: str
    path: str
    scope: str | None
    parameters: frozenset[str]

    @property
    def area(self) -> str:
        return (self.scope or "").partition(":")[0]

    def path_of(self, call: str) -> str:
        path = self.path
        for name in self.parameters:
            path = path.replace(f"{{{name}}}", call)
        return path


@dataclass(frozen=True)
class Told:
    """An answer, without what belongs to its moment."""

    status: int
    headers: frozenset[tuple[str, str]]
    body: bytes


@dataclass
class Tenants:
    """Two tenants with calls, and what there is to ask with."""

    world: World
    mine: Customer
    theirs: Customer
    my_call: str
    their_call: str
    their_secrets: list[str]
    credentials: dict[tuple[str, str], str]

    async def ask(self, operation: Operation, token: str | None, call: str = UNKNOWN) -> Told:
        return await told(self.world, operation, token, call)


async def told(world: World, operation: Operation, token: str | None, call: str = UNKNOWN) -> Told:
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    url = world.stack.base_url + operation.path_of(call)
    async with world.session.request(operation.method, url, headers=headers) as response:
        kept = frozenset((name, value) for name, value in response.headers.items() if name not in OF_THE_MOMENT)
        return Told(response.status, kept, await response.read())


@pytest.fixture
async def tenants(world: World) -> Tenants:
    limits = dict.fromkeys(AreaName, 100_000)
    (mine,), (theirs,) = await world.customer(limits=limits), await world.customer(limits=limits)
    my_calls, their_calls = world.calls_of(mine, count=6), world.calls_of(theirs, count=9, seed=8)
    for calls in (my_calls, their_calls):
        await world.send(planned(calls))
    for customer, calls in ((mine, my_calls), (theirs, their_calls)):

        async def shown(customer: Customer = customer, expected: int = len(calls)) -> bool:
            overview = await world.fresh("/api/voice/analytics/overview", customer)
            page = await world.fresh("/api/conversations", customer)
            return bool(overview["metrics"]["total_calls"] == expected == page["total"])

        await until(shown)
    store = TokenStore(world.database)
    credentials = {
        (kind, held): await token_of(store, mine.tenant.id, scopes)
        if kind == "API token"
        else jwt_of(mine.tenant.id, scopes)
        for kind, (held, scopes) in itertools.product(KINDS, HELD.items())
    }
    recorded = [next(call.session for call in calls if call.recorded) for calls in (my_calls, their_calls)]
    secrets = [call.session for call in their_calls] + [theirs.tenant.id]
    return Tenants(world, mine, theirs, recorded[0], recorded[1], secrets, credentials)


async def operations_of(world: World) -> list[Operation]:
    """Read the document; a parameter in a path that is of no kind known here fails, as nobody has said what it is."""
    document = (await world.get("/api/openapi.json")).body
    found = []
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            parameters = frozenset(each["name"] for each in operation["parameters"] if each.get("in") == "path")
            assert parameters <= OF_A_CONVERSATION, f"what is another tenant's {parameters} in {path}?"
            found += [
                Operation(one, path, _scope_of(operation["security"]), parameters)
                for one in ([method.upper(), "HEAD"] if method == "get" else [method.upper()])
            ]
    return found


def _scope_of(security: list[dict[str, Any]]) -> str | None:
    scopes = [scope for requirement in security for scope in requirement.get("bearer", ())]
    return scopes[0] if scopes else None


def guarded(operations: list[Operation]) -> Iterator[Operation]:
    return (operation for operation in operations if operation.scope is not None)


async def test_every_route_answers_every_credential_as_the_contract_says(tenants: Tenants) -> None:
    for operation in guarded(await operations_of(tenants.world)):
        nobody = await tenants.ask(operation, None, tenants.my_call)
        assert nobody.status == 401, operation
        assert nobody.body == said(operation, f"Missing tenant context for {operation.area} request")
        assert ("WWW-Authenticate", "Bearer") in nobody.headers
        for (kind, held), token in tenants.credentials.items():
            calls = (tenants.my_call, tenants.their_call, UNKNOWN, "no%20id")
            answers = await asyncio.gather(*(tenants.ask(operation, token, call) for call in calls))
            own, other, unknown, bad = answers
            about = f"{operation} with {kind}, {held}"
            if operation.scope not in HELD[held]:
                assert {each.status for each in answers} == {403}, about
                assert {each.body for each in answers} == {said(operation, f"Token lacks scope {operation.scope}")}
                assert own == other == unknown, about
            elif operation.parameters:
                assert [each.status for each in answers] == [200, 404, 404, 400], about
                assert other == unknown, about
                assert other.body == said(operation, "Conversation not found"), about
            else:
                assert {each.status for each in answers} == {200}, about
            for secret in tenants.their_secrets:
                assert not any(secret.encode() in answer.body for answer in (own, other, unknown, bad)), about


async def test_the_same_question_gets_each_tenant_its_own_answer_by_either_kind_of_token(tenants: Tenants) -> None:
    mine, theirs = ((who.token, jwt_of(who.tenant.id, SCOPES)) for who in (tenants.mine, tenants.theirs))
    for operation in guarded(await operations_of(tenants.world)):
        if operation.method == "GET" and not operation.parameters:
            (one, two), (three, four), (five, six) = [
                [(await tenants.ask(operation, token)).body for token in tokens] for tokens in (mine, theirs, mine)
            ]
            assert one == two == five == six, operation
            assert three == four != one, operation


async def test_a_token_that_nobody_issued_opens_no_route(world: World) -> None:
    (customer,) = await world.customer()
    forged = [
        "vst_" + "A" * 43,
        customer.token[:-2] + ("AA" if customer.token[-2:] != "AA" else "BB"),
        jwt_of("nobody", SCOPES),
        jwt_of(customer.tenant.id, SCOPES)[:-6] + "AAAAAA",
    ]
    for operation in guarded(await operations_of(world)):
        for token in forged:
            answer = await told(world, operation, token)
            assert answer.status in {401, 429}, operation  # after 30 failures a minute an address has to wait
            sentence = f"Missing tenant context for {operation.area} request"
            assert answer.body == said(operation, sentence if answer.status == 401 else "Rate limit exceeded")


async def test_routes_without_a_tenant_answer_everybody_alike(world: World) -> None:
    (customer,) = await world.customer()
    everybody = (None, "no-token", customer.token, jwt_of(customer.tenant.id, SCOPES), jwt_of(customer.tenant.id, ()))
    unguarded = [operation for operation in await operations_of(world) if operation.scope is None]
    assert {operation.path for operation in unguarded} >= {"/api/openapi.json", "/api/webhooks/telnyx/voice"}
    for operation in unguarded:
        (answer,) = {await told(world, operation, token) for token in everybody}
        if operation.method == "POST":
            assert (answer.status, answer.body) == (401, said(operation, "Invalid webhook signature"))
        else:
            assert answer.status == 200, operation


async def test_no_service_answers_anybody_but_the_gateway(world: World) -> None:
    (customer,) = await world.customer()
    services = world.stack.described()["services"]
    for name in sorted(services.keys() - {"gateway"}):
        base = services[name]["url"]
        async with world.session.get(f"{base}/openapi.json") as response:
            paths = (await response.json())["paths"]
        assert paths
        for path, operations in paths.items():
            for method in operations:
                url = base + re.sub(r"{\w+}", UNKNOWN, path)
                async with world.session.request(method, url, headers=customer.authorization) as response:
                    assert response.status == 401, (name, method, path)
                    assert (await response.json())["error"].startswith("Missing tenant context for ")


def said(operation: Operation, sentence: str) -> bytes:
    """Give the body of an error, which an answer to HEAD has not."""
    return b"" if operation.method == "HEAD" else json.dumps({"error": sentence}, separators=(",", ":")).encode()
