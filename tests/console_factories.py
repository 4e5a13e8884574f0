"""What the console's browser tests are made of: a tenant with calls, the files of its recordings, a watched page."""

from __future__ import annotations

import asyncio
import datetime as dt
import io
import ssl
import threading
import wave
from collections.abc import Awaitable, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from e2e_factories import Customer, RunningStack, World, open_database, until
from playwright.sync_api import Page, expect

from voice_common.store.tenants import AreaName, TenantStore
from voice_gateway.areas import SCOPES
from voice_gateway.tokens import TokenStore
from voice_local.servers import free_port
from voice_local.simulation.delivery import planned

ROOT = Path(__file__).resolve().parent.parent
AXE = ROOT / "services/gateway/console/node_modules/axe-core/axe.min.js"
SCREENSHOTS = ROOT / "tests/console/screenshots"
RECORDING_SECONDS = 300
DAYS = 10
# Many tests share a tenant: what one person does in a minute is measured where a test has a tenant of its own.
UNHURRIED = dict.fromkeys(AreaName, 10_000)
_RATE = 4000  # Hz; Chromium plays none below 3000
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


def open_office(stack: RunningStack, *, calls: int = 0, limits: Mapping[AreaName, int] = UNHURRIED) -> Office:
    """Make a tenant with calls of the last days, all of which the API tells already."""

    async def open_one(world: World) -> Office:
        (customer,) = await world.customer()
        store = TenantStore(world.database)
        await store.replace(replace(await store.get(customer.tenant.id), limits=limits))
        told = world.calls_of(customer, count=calls, days=DAYS)
        await world.send(planned(told))

        async def shown() -> bool:
            body = await world.fresh("/api/voice/analytics/overview", customer)
            return bool(body["metrics"]["total_calls"] == len(told))

        await until(shown)
        return Office(world.stack, customer)

    return in_world(stack, open_one)


@contextmanager
def storage(folder: Path) -> Iterator[int]:
    """Serve a recording under every path of an https server on loopback; give its port."""
    loop, port = asyncio.new_event_loop(), free_port()
    body = folder / "recording.wav"
    body.write_bytes(_silence())

    async def answer(_request: web.Request) -> web.StreamResponse:
        return web.FileResponse(body, headers={"Content-Type": "audio/wav"})

    async def start() -> web.AppRunner:
        app = web.Application()
        app.router.add_get("/{name:.*}", answer)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port, ssl_context=_certified(folder)).start()
        return runner

    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    runner = asyncio.run_coroutine_threadsafe(start(), loop).result(10)
    try:
        yield port
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


def _silence() -> bytes:
    made = io.BytesIO()
    with wave.open(made, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(1)
        file.setframerate(_RATE)
        file.writeframes(b"\x80" * _RATE * RECORDING_SECONDS)
    return made.getvalue()


def _certified(folder: Path) -> ssl.SSLContext:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "recordings.example.com")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    pem = folder / "server.pem"
    pem.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    return context


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
