"""Signing in and out, and what the console says when the API refuses."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

from console_factories import Office, enter, open_office, settled, sign_in
from e2e_factories import RunningStack
from playwright.sync_api import Page, Request, Route, expect

from voice_common.store.tenants import AreaName

TOKEN = "sessionStorage.getItem('voice.token')"
Keep = Callable[[Page, str], None]


def test_a_token_opens_the_console_and_is_in_no_address(page: Page, office: Office, keep: Keep) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"{office.url}/console")
    expect(page.get_by_label("API token")).to_be_focused()
    keep(page, "sign-in")
    page.keyboard.type(office.token)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Overview", level=1)).to_be_visible()
    settled(page)
    assert [url for url in [*asked, page.url] if office.token in url] == []
    assert page.evaluate(TOKEN) == office.token
    assert page.evaluate("document.cookie + JSON.stringify(localStorage)") == "{}"


def test_a_wrong_token_is_refused_with_a_sentence(page: Page, office: Office, keep: Keep) -> None:
    page.goto(f"{office.url}/console")
    button = page.get_by_role("button", name="Sign in")
    button.click()
    expect(page.get_by_role("alert")).to_have_text("Paste a token first.")
    for token, sentence in (("vst_" + "x" * 43, "not known"), ("žeton", "has characters")):
        page.get_by_label("API token").fill(token)
        expect(page.get_by_role("alert")).to_have_count(0)
        button.click()
        expect(page.get_by_role("alert")).to_contain_text(sentence)
    keep(page, "sign-in-refused")
    assert page.evaluate(TOKEN) is None


def test_signing_out_forgets_the_token(page: Page, office: Office) -> None:
    sign_in(page, office)
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("status")).to_have_text("You have signed out.")
    assert page.evaluate(TOKEN) is None
    page.reload()
    expect(page.get_by_label("API token")).to_be_visible()


def test_a_token_is_that_of_one_tab(page: Page, office: Office) -> None:
    sign_in(page, office)
    other = page.context.new_page()
    other.goto(page.url)
    expect(other.get_by_label("API token")).to_be_visible()


def test_an_expired_token_is_explained_and_the_view_kept(page: Page, office: Office, keep: Keep) -> None:
    token = office.issue()
    sign_in(page, office, "/console/conversations?range=30d", token=token)
    settled(page)
    office.revoke(token)
    page.get_by_role("radio", name="Failed").check()
    expect(page.get_by_role("status")).to_contain_text("Your token has expired or was revoked.")
    keep(page, "expired")
    assert page.evaluate(TOKEN) is None
    page.get_by_label("API token").fill(office.token)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Conversations", level=1)).to_be_visible()
    assert page.url.endswith("/console/conversations?range=30d&status=failed")


def test_a_token_without_a_scope_is_told_which_one_it_lacks(page: Page, office: Office) -> None:
    token = office.issue(frozenset({"conversations:read"}))
    sign_in(page, office, "/console/?range=30d", token=token)
    expect(page.get_by_text("Token lacks scope analytics:read.").first).to_be_visible()
    expect(page.locator(".latest li").first).to_be_visible()


def test_a_used_up_limit_is_explained_with_the_seconds_left(stack: RunningStack, page: Page, keep: Keep) -> None:
    poor = open_office(stack, limits={AreaName.ANALYTICS: 1})  # which is used already
    enter(page, poor, "/console/?range=7d")
    expect(page.get_by_role("status").get_by_text("Rate limit reached.")).to_be_visible()
    left = page.locator(".toast .nowrap")
    expect(left).to_have_text(re.compile(r"^in ([1-9]|[1-5]\d|60) s\.$"))
    first = left.inner_text()
    expect(left).not_to_have_text(first)  # it counts down
    keep(page, "rate-limit")


def test_the_console_goes_on_by_itself_when_the_limit_lets_it(page: Page, office: Office) -> None:
    refused: list[str] = []

    def refuse_once(route: Route) -> None:
        if route.request.url in refused:
            route.continue_()
        else:
            refused.append(route.request.url)
            body = json.dumps({"error": "Rate limit exceeded"})
            route.fulfill(status=429, headers={"Retry-After": "1", "Content-Type": "application/json"}, body=body)

    sign_in(page, office, "/console/?range=30d")
    settled(page)
    page.route("**/api/voice/analytics/timeline?**", refuse_once)
    page.get_by_role("radio", name="90 days").check()
    expect(page.get_by_text("Rate limit reached.")).to_be_visible()
    expect(page.get_by_text("Rate limit reached.")).to_have_count(0)
    settled(page)
    expect(page.get_by_role("img", name="Chart of")).to_be_visible()
    assert len(refused) == 2


def test_a_failure_is_told_and_can_be_tried_again(page: Page, office: Office, keep: Keep) -> None:
    def fail(route: Route) -> None:
        route.fulfill(status=503, headers={"Retry-After": "30"}, body=json.dumps({"error": "Service unavailable"}))

    page.route("**/api/conversations?**", fail)
    sign_in(page, office, "/console/conversations?range=30d")
    expect(page.get_by_role("alert")).to_contain_text("The service is not available just now.")
    keep(page, "failure")
    page.unroute("**/api/conversations?**")
    page.get_by_role("button", name="Try again").click()
    expect(page.locator("tbody tr").first).to_be_visible()


def test_quick_changes_of_the_range_ask_once_and_the_last_one_counts(page: Page, office: Office) -> None:
    sign_in(page, office, "/console/?range=7d")
    settled(page)
    asked: list[str] = []

    def note(request: Request) -> None:
        if "/analytics/" in request.url:
            asked.append(request.url)

    page.on("request", note)
    page.get_by_role("radio", name="7 days").focus()
    for _ in range(2):
        page.keyboard.press("ArrowRight")
    expect(page).to_have_url(re.compile("range=90d$"))
    settled(page)
    assert len(asked) == 4, asked
