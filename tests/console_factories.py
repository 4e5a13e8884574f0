"""What the console's browser tests are made of: a tenant with calls, and a watched page."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
from e2e_factories import Customer, RunningStack, World, open_database, until
from playwright.sync_api import Page, expect

from voice_common.store.tenants import AreaName, TenantStore
from voice_gateway.areas import SCOPES
from voice_gateway.tokens import TokenStore
from voice_local.simulation.delivery import planned
from voice_local.storage import STORAGE

ROOT = Path(__file__).resolve().parent.parent
AXE = ROOT / "services/gateway/console/node_modules/axe-core/axe.min.js"
SCREENSHOTS = ROOT / "tests/console/screenshots"
DAYS = 10
# Many tests share a tenant: what one person does in a minute is measured where a test has a tenant of its own.
UNHURRIED = dict.fromkeys(AreaName, 10_000)
_T = TypeVar("_T")

# Runs before the console's own code: what the page did wrong, and how much of it moved by itself.
WATCH = """
window.watched = {violations: [], shift: 0};
document.addEventListener('securitypolicyviolation', (event) =>
  window.watched.violations.push(`${event.violatedDirective} ${event.blockedURI}`));
new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) if (!entry.hadRecentInput) window.watched.shift += entry.value;
}).observe({type: 'layout-shift', buffered: true});
"""


@dataclass(frozen=True)
class Office:
    """A tenant on a running stack, for tests that run in no event loop."""

    stack: RunningStack
    customer: Customer

    @property
    def token(self) -> str:
        return self.customer.token

    @property
    def url(self) -> str:
        return self.stack.base_url

    def get(self, path: str) -> Any:
        """Give what the API answers."""

        async def ask(world: World) -> Any:
            answer = await world.get(path, self.customer)
            assert answer.status in {200, 404}, answer.body
            return answer.body

        return in_world(self.stack, ask)

    def issue(self, scopes: frozenset[str] = frozenset(SCOPES)) -> str:
        """Make another token of the tenant."""

        async def make(world: World) -> str:
            secret, _ = await TokenStore(world.database).issue(
                self.customer.tenant.id, name="other", scopes=sorted(scopes), expires_at=None
            )
            return secret

        return in_world(self.stack, make)

    def revoke(self, token: str) -> None:
        """Revoke a token, and wait until the gateway knows."""

        async def end(world: World) -> None:
            await TokenStore(world.database).revoke(token)
            other = Customer(self.customer.tenant, token)

            async def refused() -> bool:
                return (await world.get("/api/conversations?limit=1", other)).status == 401

            await until(refused)

        in_world(self.stack, end)


def in_world(stack: RunningStack, act: Callable[[World], Awaitable[_T]]) -> _T:
    """Do something to a stack from beside Playwright, which keeps an event loop in the tests' own thread."""

    async def run() -> _T:
        database = open_database(stack.described()["mongo_url"])
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as session:
            try:
                return await act(World(stack, database, session))
            finally:
                await database.client.close()

    with ThreadPoolExecutor(1) as beside:
        return beside.submit(asyncio.run, run()).result()


def open_office(
    stack: RunningStack, *, calls: int = 0, limits: Mapping[AreaName, int] = UNHURRIED, heard: bool = True
) -> Office:
    """Make a tenant with calls of the last days, all of which the API tells already.

    Their recordings can be `heard`, or are on hosts that nobody has.
    """

    async def open_one(world: World) -> Office:
        (customer,) = await world.customer()
        store = TenantStore(world.database)
        await store.replace(replace(await store.get(customer.tenant.id), limits=limits))
        storage = stack.directory.port_of(STORAGE) if heard else None
        told = world.calls_of(customer, count=calls, days=DAYS, storage=storage)
        await world.send(planned(told))

        async def shown() -> bool:
            body = await world.fresh("/api/voice/analytics/overview", customer)
            return bool(body["metrics"]["total_calls"] == len(told))

        await until(shown)
        return Office(world.stack, customer)

    return in_world(stack, open_one)


def recorded(office: Office) -> dict[str, Any]:
    """Give a conversation of the list that has a recording."""
    return next(one for one in _listed(office) if one["recording_available"])


def recorded_with_tools(office: Office) -> dict[str, Any]:
    """Give a conversation that has a recording, messages and tool calls."""
    for one in _listed(office):
        if one["recording_available"]:
            found: dict[str, Any] = office.get(f"/api/conversations/{one['id']}")["conversation"]
            if found["tool_calls"] and found["message_count"] > 3:
                return found
    raise AssertionError("no such conversation")


def _listed(office: Office) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = office.get("/api/conversations?limit=200")["conversations"]
    return listed


def sign_in(page: Page, office: Office, path: str = "/console/", *, token: str | None = None) -> None:
    """Open an address of the console and sign in there."""
    page.goto(office.url + path)
    page.get_by_label("API token").fill(token or office.token)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("navigation", name="Console")).to_be_visible()


def enter(page: Page, office: Office, path: str = "/console/") -> None:
    """Open an address of the console in a tab in which somebody has signed in."""
    page.add_init_script(f"sessionStorage.setItem('voice.token', '{office.token}')")
    page.goto(office.url + path)
    expect(page.get_by_role("navigation", name="Console")).to_be_visible()


def settled(page: Page) -> None:
    """Wait until nothing of a view is awaited any more."""
    expect(page.locator(".bone, [aria-busy=true]")).to_have_count(0)


def serious(page: Page, *rules: str) -> list[str]:
    """Give what axe finds wrong with a page as it is now, by `rules` or all: serious and critical findings alone."""
    if not page.evaluate("'axe' in window"):
        page.evaluate(AXE.read_text())
    options: dict[str, Any] = {"resultTypes": ["violations"]} | ({"runOnly": list(rules)} if rules else {})
    found: list[str] = page.evaluate(
        """async (options) => (await axe.run(document, options)).violations
          .filter(({impact}) => impact === 'serious' || impact === 'critical')
          .map(({id, nodes}) => `${id}: ${nodes.map(({html}) => html.slice(0, 120)).join(' | ')}`)""",
        options,
    )
    return found
