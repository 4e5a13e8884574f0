"""One stack, one tenant with calls and one Chromium for all tests of this folder; a page of its own for each."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from console_factories import SCREENSHOTS, WATCH, Office, open_office
from e2e_factories import RunningStack, start_stack
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, expect, sync_playwright

from voice_gateway.console import BUILT
from voice_local.servers import free_port

NewPage = Callable[..., Page]
_CHROMIUMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# What Chromium says of answers that a test brought about; all else that it says of a page is a fault.
_EXPECTED = re.compile(
    r"Failed to load resource: (the server responded with a status of (400|401|403|404|429|503)"
    r"|net::ERR_NAME_NOT_RESOLVED)"
)


@pytest.fixture(scope="session")
def chromium() -> str:
    found = next((path for name in _CHROMIUMS if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip("no Chromium is installed; on Debian: apt-get install chromium")
    assert (BUILT / "index.html").is_file(), "the console is not built; run: make console"
    return found


@pytest.fixture(scope="package")
def stack(chromium: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    assert chromium
    running = start_stack(tmp_path_factory.mktemp("console") / "data", free_port(), "--no-demo")
    try:
        running.wait_for("ready")
        yield running
    finally:
        running.stop()


@pytest.fixture(scope="package")
def office(stack: RunningStack) -> Office:
    return open_office(stack, calls=90)


@pytest.fixture(scope="package")
def browser(chromium: str) -> Iterator[Browser]:
    """Run a Chromium for this folder: as long as Playwright does, no asynchronous test can run in this process."""
    expect.set_options(timeout=20_000)  # two suites may share the machine
    with sync_playwright() as driver:
        flags = ["--host-resolver-rules=MAP *.example.com ~NOTFOUND", "--mute-audio"]  # no test asks the world
        running = driver.chromium.launch(executable_path=chromium, args=flags)
        yield running
        running.close()


def open_profile(browser: Browser, **options: Any) -> BrowserContext:
    profile = browser.new_context(**{"viewport": {"width": 1280, "height": 800}, **options})
    profile.set_default_timeout(20_000)
    profile.add_init_script(WATCH)
    return profile


def forget(profile: BrowserContext, origin: str) -> None:
    """Empty a profile of its pages, of what they stored and of the cache."""
    for page in profile.pages[1:]:
        page.close()
    for page in profile.pages:
        session = profile.new_cdp_session(page)
        session.send("Storage.clearDataForOrigin", {"origin": origin, "storageTypes": "all"})
        session.send("Network.clearBrowserCache")
        page.close()


@pytest.fixture(scope="package")
def shared(browser: Browser) -> BrowserContext:
    """Give the profile of tests that ask for none of their own: to empty one costs much less than to make one."""
    return open_profile(browser)


@pytest.fixture
def new_page(browser: Browser, shared: BrowserContext, stack: RunningStack) -> Iterator[NewPage]:
    """Give what opens a page in an empty profile; at the end, no page may have broken its policy or thrown."""
    profiles = [shared]
    faults: list[str] = []

    def note(message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"} and not _EXPECTED.match(message.text):
            faults.append(message.text)

    def open_page(**options: Any) -> Page:
        if options:
            profiles.append(open_profile(browser, **options))
        page = profiles[-1].new_page()
        page.on("console", note)
        page.on("pageerror", lambda error: faults.append(str(error)))
        return page

    yield open_page
    for profile in profiles:
        for page in profile.pages:
            faults += page.evaluate("window.watched ? window.watched.violations : []")
        if profile is shared:
            forget(profile, stack.base_url)
        else:
            profile.close()
    assert faults == []


@pytest.fixture
def page(new_page: NewPage) -> Page:
    return new_page()


@pytest.fixture
def keep() -> Callable[[Page, str], None]:
    """Give what keeps a picture of a page for those who want to see it."""

    def picture(page: Page, name: str) -> None:
        SCREENSHOTS.mkdir(exist_ok=True)
        page.screenshot(path=SCREENSHOTS / f"{name}.png")

    return picture
