"""The API's page in a browser: Swagger UI under its policy, asking nobody but this host."""

from __future__ import annotations

from collections.abc import Callable

from console_factories import Office
from playwright.sync_api import Page, Request, expect

Keep = Callable[[Page, str], None]


def test_the_page_shows_every_operation_and_asks_no_other_host(page: Page, office: Office, keep: Keep) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"{office.url}/api/docs")
    document = office.get("/api/openapi.json")
    operations = [one["summary"] for path in document["paths"].values() for one in path.values()]
    shown = page.locator(".opblock-summary-description")
    expect(shown).to_have_count(len(operations))
    assert sorted(shown.all_inner_texts()) == sorted(operations)
    keep(page, "docs")
    assert [url for url in asked if not url.startswith((office.url, "data:"))] == []


def test_an_endpoint_is_tried_out_with_a_token_that_was_authorized(page: Page, office: Office, keep: Keep) -> None:
    sent: list[Request] = []
    page.on("request", lambda request: sent.append(request))  # noqa: PLW0108 - playwright can hold no built-in
    page.goto(f"{office.url}/api/docs#/Analytics/getAnalyticsOverview")
    page.get_by_role("button", name="Authorize").click()
    page.locator("#auth-bearer-value").fill(office.token)
    page.get_by_label("Apply credentials").first.click()
    page.get_by_role("button", name="Close").last.click()
    page.get_by_role("button", name="Try it out").click()
    page.get_by_role("button", name="Execute").click()
    answer = page.locator(".live-responses-table .response").first
    expect(answer.locator(".response-col_status")).to_contain_text("200")
    expect(answer).to_contain_text("recording_availability_rate")
    keep(page, "docs-tried-out")
    (tried,) = [request for request in sent if "/api/voice/analytics/overview" in request.url]
    assert tried.all_headers()["authorization"] == f"Bearer {office.token}"
    assert office.token not in page.url
    assert page.evaluate("JSON.stringify([localStorage, sessionStorage])").count("vst_") == 0
