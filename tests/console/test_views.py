"""What each view shows is what the API says, and its address leads to it again."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from console_factories import Office, enter, open_office, recorded, recorded_with_tools, settled, sign_in
from e2e_factories import RunningStack
from playwright.sync_api import Page, expect

Keep = Callable[[Page, str], None]
TODAY = datetime.now(UTC).date()


def days(first: int, last: int = 0) -> str:
    """Give the API's parameters from `first` to `last` days ago."""
    return f"start_date={TODAY - timedelta(days=first)}&end_date={TODAY - timedelta(days=last)}"


def metrics(office: Office, query: str) -> dict[str, Any]:
    found: dict[str, Any] = office.get(f"/api/voice/analytics/detailed?{query}")["metrics"]
    return found


def text_of(cell: str, page: Page) -> list[str]:
    return [text.strip() for text in page.locator(cell).all_inner_texts()]


def test_the_overview_shows_each_figure_beside_that_of_the_period_before(
    page: Page, office: Office, keep: Keep
) -> None:
    now, before = metrics(office, days(4)), metrics(office, days(9, 5))
    start, end = TODAY - timedelta(days=4), TODAY
    enter(page, office, f"/console/?start={start}&end={end}")
    settled(page)
    keep(page, "overview")

    def card(label: str) -> str:
        """Give what eyes see of a figure; ears get another text."""
        one = page.locator(".kpi", has=page.get_by_role("heading", name=label, exact=True))
        return "\n".join(one.locator("[aria-hidden]").all_inner_texts())

    for label, key in (("Calls", "total_calls"), ("Completed", "completed_calls"), ("Incomplete", "incomplete_calls")):
        assert re.search(rf"^{now[key]}\b", card(label), re.MULTILINE)
        assert f"Previous 5 days: {before[key]}" in card(label)
    for label, key in (
        ("Recordings available", "recording_availability_rate"),
        ("Tool success", "tool_call_success_rate"),
    ):
        assert f"{math.floor(now[key] * 1000 + 0.5) / 10:g}%" in card(label)
        assert f"Previous 5 days: {math.floor(before[key] * 1000 + 0.5) / 10:g}%" in card(label)
    assert f"{round(now['avg_duration_seconds']) % 60:d}s" in card("Average duration").replace(" 0", " ")
    heard = page.locator(".kpi .kpi-before .sr").first.text_content() or ""
    assert heard.endswith(f"Previous 5 days: {before['total_calls']}.")
    assert re.match(r"(Up|Down) |No change\.", heard)


def test_the_charts_show_what_the_timeline_says(page: Page, office: Office) -> None:
    timeline = office.get(f"/api/voice/analytics/timeline?{days(29)}&fill=zero")["timeline"]
    total = sum(bucket["call_count"] for bucket in timeline)
    known = metrics(office, days(29))["sentiment_distribution"]
    enter(page, office, "/console/?range=30d")
    settled(page)
    chart = page.get_by_role("img", name=f"Chart of {total} calls in 30 days.")
    expect(chart).to_be_visible()
    chart.focus()
    page.keyboard.press("End")
    page.keyboard.press("ArrowLeft")
    yesterday = timeline[-2]["call_count"]
    expect(page.get_by_role("status").filter(has_text="call")).to_contain_text(f"{yesterday} call")
    page.get_by_role("button", name="Show as a table").click()
    assert text_of(".figures-table tbody td:nth-child(2)", page) == [str(bucket["call_count"]) for bucket in timeline]
    cells = [int(text or 0) for text in page.locator(".heat-table tbody td .sr").all_text_contents()]
    assert (len(cells), sum(cells)) == (7 * 24, total)
    shown = [f"{known[mood]} call" for mood in ("positive", "neutral", "negative")]
    assert all(part in text for part, text in zip(shown, text_of(".sentiment-list li", page), strict=True))


def test_a_short_range_has_hours_and_asks_less(page: Page, office: Office) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    enter(page, office, "/console/?range=today")
    settled(page)
    expect(page.get_by_role("heading", name="Calls by hour")).to_be_visible()
    expect(page.get_by_text("No calls in this range").first).to_be_visible()
    analytics = [url for url in asked if "/analytics/" in url]
    assert len([url for url in analytics if "timeline" in url]) == 1
    page.get_by_role("link", name="Look at the last 90 days").click()
    expect(page).to_have_url(re.compile("range=90d"))
    expect(page.get_by_role("heading", name="Calls by day")).to_be_visible()


def test_a_view_asks_no_more_than_the_limits_bear(page: Page, office: Office) -> None:
    enter(page, office, "/console/?range=30d")
    settled(page)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.reload()
    settled(page)
    assert len([url for url in asked if "/analytics/" in url]) <= 4
    assert len([url for url in asked if "/api/" in url]) <= 5


def test_a_range_is_in_the_address_and_back_leads_to_the_one_before(page: Page, office: Office) -> None:
    enter(page, office, "/console/?range=7d")
    page.get_by_role("radio", name="30 days").check()
    expect(page).to_have_url(re.compile("range=30d$"))
    page.get_by_role("radio", name="Custom").check()
    page.get_by_label("First day").fill(str(TODAY))
    page.get_by_label("Last day").fill(str(TODAY - timedelta(days=3)))
    page.get_by_role("button", name="Apply").click()
    expect(page.get_by_role("alert").filter(has_text="after the last one")).to_be_visible()
    page.get_by_label("First day").fill(str(TODAY - timedelta(days=5)))
    page.get_by_role("button", name="Apply").click()
    chosen = f"start={TODAY - timedelta(days=5)}&end={TODAY - timedelta(days=3)}"
    expect(page).to_have_url(re.compile(chosen))
    settled(page)
    total = metrics(office, days(5, 3))["total_calls"]
    expect(page.locator(".kpi-value").first).to_contain_text(str(total))
    page.get_by_role("link", name="Conversations", exact=True).click()
    expect(page).to_have_url(re.compile(f"/console/conversations\\?{chosen}"))
    expect(page.get_by_text(f"{total} conversations")).to_be_visible()
    page.go_back()
    page.go_back()
    expect(page.get_by_role("radio", name="30 days")).to_be_checked()


def test_the_list_is_paged_and_each_page_is_a_link(page: Page, office: Office, keep: Keep) -> None:
    wanted = [one["started_at"] for one in office.get(f"/api/conversations?limit=60&{days(29)}")["conversations"]]
    enter(page, office, "/console/conversations?range=30d")
    settled(page)
    keep(page, "conversations")
    starts = "document.querySelectorAll('.row-link time').values().map((time) => time.dateTime).toArray()"
    assert page.evaluate(starts) == wanted[:25]
    expect(page.get_by_text("90 conversations")).to_be_visible()
    page.get_by_role("link", name="Older").click()
    expect(page.get_by_text("Page 2")).to_be_visible()
    settled(page)
    assert page.evaluate(starts) == wanted[25:50]
    link = page.url
    page.get_by_role("link", name="Newer").click()
    expect(page.get_by_text("Page 1")).to_be_visible()
    settled(page)
    assert page.evaluate(starts) == wanted[:25]
    enter(page.context.new_page(), office, link.removeprefix(office.url))
    opened = page.context.pages[-1]
    settled(opened)
    assert opened.evaluate(starts) == wanted[25:50]
    opened.get_by_role("link", name="First page").click()
    expect(opened.get_by_text("Page 1")).to_be_visible()
    settled(opened)
    assert opened.evaluate(starts) == wanted[:25]


def test_the_list_is_filtered_by_status(page: Page, office: Office) -> None:
    enter(page, office, "/console/conversations?range=30d")
    for status in ("completed", "failed", "active"):
        answer = office.get(f"/api/conversations?status={status}&limit=25&{days(29)}")
        page.get_by_role("radio", name=status.title()).check()
        expect(page).to_have_url(re.compile(f"status={status}$"))
        if answer["total"]:
            expect(page.locator("tbody .chip")).to_have_text([status.title()] * len(answer["conversations"]))
    page.goto(f"{office.url}/console/conversations?start=2025-01-01&end=2025-01-02&status=failed")
    expect(page.get_by_text("No conversations of this kind in the range")).to_be_visible()
    page.get_by_role("link", name="Show all of the range").click()
    expect(page.get_by_text("No conversations in this range")).to_be_visible()
    page.get_by_role("link", name="Look at the last 90 days").click()
    expect(page.locator("tbody tr")).to_have_count(25)


def test_a_conversation_shows_its_facts_its_transcript_and_its_tools(page: Page, office: Office, keep: Keep) -> None:
    one = recorded_with_tools(office)
    messages = office.get(f"/api/conversations/{one['id']}/messages")
    enter(page, office, "/console/conversations?range=30d")
    settled(page)
    while not page.locator(f"a[href*='{one['id']}']").count():
        before = page.url
        page.get_by_role("link", name="Older").click()
        expect(page).not_to_have_url(before)
        expect(page.locator(".is-stale")).to_have_count(0)
        settled(page)
    page.locator(f"a[href*='{one['id']}']").click()
    settled(page)
    expect(page.get_by_role("heading", level=1)).to_be_focused()
    assert page.locator(".bubble").all_text_contents() == [message["content"] for message in messages]
    assert page.locator(".tool-name").all_text_contents() == [call["name"] for call in one["tool_calls"]]
    lines = page.locator(".lines > li").all_text_contents()
    moments = [(message["created_at"], message["content"]) for message in messages]
    moments += [(call["started_at"], call["name"]) for call in one["tool_calls"]]
    assert len(lines) == len(moments)
    for line, (_, text) in zip(
        lines, sorted(moments, key=lambda moment: datetime.fromisoformat(moment[0])), strict=True
    ):
        assert text in line
    page.get_by_text("Arguments").first.click()
    expect(page.locator(".tool pre").first).to_be_visible()
    facts = page.locator(".facts")
    for fact in (one["id"], one["from"], one["to"], str(one["message_count"])):
        expect(facts).to_contain_text(fact)
    keep(page, "conversation")
    page.locator(".back-link").click()
    expect(page.get_by_role("heading", name="Conversations", level=1)).to_be_visible()


def test_a_lines_time_plays_the_recording_from_there(page: Page, office: Office) -> None:
    one = recorded_with_tools(office)
    recording = office.get(f"/api/voice/recordings/{one['id']}")["recording"]
    enter(page, office, f"/console/conversations/{one['id']}")
    settled(page)
    audio = page.get_by_label("Recording of the call")
    expect(audio).to_have_attribute("src", recording["urls"][0])
    times = page.locator(".is-user button.line-time, .is-assistant button.line-time")
    last = times.last
    minutes, seconds = (int(part) for part in last.inner_text().split()[-1].split(":"))
    last.click()
    place = minutes * 60 + seconds
    deadline = time.monotonic() + 10
    while (at := audio.evaluate("(player) => player.played.length ? player.currentTime : 0")) <= place:
        assert time.monotonic() < deadline, at
        page.wait_for_timeout(50)
    assert at - place < 5
    assert abs(audio.evaluate("(player) => player.duration") - recording["duration_seconds"]) <= 1
    expect(page.locator(".lines > li[aria-current=true]")).to_have_count(1)
    assert last.evaluate("(time) => time.closest('li').getAttribute('aria-current')") == "true"
    links = page.get_by_role("link", name="Download")
    assert [link.get_attribute("href") for link in links.all()] == recording["urls"]


def test_a_recording_that_does_not_load_is_explained_and_can_be_tried_again(
    stack: RunningStack, page: Page, keep: Keep
) -> None:
    office = open_office(stack, calls=12, heard=False)
    one = recorded(office)
    enter(page, office, f"/console/conversations/{one['id']}")
    told = page.get_by_role("status").filter(has_text="The recording did not load. Links of Telnyx can run out")
    expect(told).to_be_visible()
    settled(page)
    keep(page, "recording-not-loaded")
    with page.expect_request("**/api/voice/recordings/*") as asked:
        told.get_by_role("button", name="Try again").click()
    assert asked.value.all_headers()["cache-control"] == "no-cache"
    expect(told).to_be_visible()
    expect(page.locator(".bubble").first).to_be_visible()


def test_a_recording_in_a_storage_that_browsers_can_not_read_is_told_by_its_address(
    page: Page, office: Office, keep: Keep
) -> None:
    one = recorded(office)
    recording = office.get(f"/api/voice/recordings/{one['id']}")["recording"] | {"urls": ["gs://bucket/a/call.wav"]}
    page.route("**/api/voice/recordings/*", lambda route: route.fulfill(json={"recording": recording}))
    enter(page, office, f"/console/conversations/{one['id']}")
    settled(page)
    expect(page.get_by_text("The recording is in a storage that browsers")).to_be_visible()
    expect(page.get_by_text("gs://bucket/a/call.wav")).to_be_visible()
    keep(page, "recording-elsewhere")


def test_a_link_to_a_conversation_works_after_signing_in(page: Page, office: Office) -> None:
    one = recorded_with_tools(office)
    path = f"/console/conversations/{one['id']}?range=90d"
    sign_in(page, office, path)
    number = one["to"] if one["direction"] == "outbound" else one["from"]
    expect(page.get_by_role("heading", name=number, level=1)).to_be_visible()
    assert page.url == office.url + path
    expect(page).to_have_title(f"{number} · Voice Console")


def test_an_unknown_conversation_is_told_as_one(page: Page, office: Office) -> None:
    enter(page, office, "/console/conversations/00000000-0000-4000-8000-000000000000")
    expect(page.get_by_text("There is no such conversation")).to_be_visible()
    page.goto(f"{office.url}/console/conversations/%C3%A9%20x")
    expect(page.get_by_text("There is no such conversation")).to_be_visible()
    page.locator(".back-link").click()
    expect(page.get_by_role("heading", name="Conversations", level=1)).to_be_visible()


def test_a_tenant_without_calls_is_told_so_everywhere(stack: RunningStack, page: Page, keep: Keep) -> None:
    enter(page, open_office(stack), "/console/?range=90d")
    settled(page)
    expect(page.get_by_text("No calls in this range").first).to_be_visible()
    expect(page.get_by_text("No sentiment known")).to_be_visible()
    keep(page, "empty")
    page.get_by_role("link", name="Conversations", exact=True).click()
    expect(page.get_by_text("No conversations in this range")).to_be_visible()


def test_the_button_computes_the_figures_anew(page: Page, office: Office) -> None:
    enter(page, office, "/console/?range=30d")
    settled(page)
    with page.expect_request("**/analytics/timeline?**") as asked:
        page.get_by_role("button", name="Compute the figures anew").click()
    assert asked.value.all_headers()["cache-control"] == "no-cache"
    settled(page)
