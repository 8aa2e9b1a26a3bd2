"""The list of runs, in a browser."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from django.urls import reverse as url_of
from django.utils import timezone
from playwright.sync_api import expect

from tests.browser.conftest import DESKTOP, PHONE, at_each_size, fits, settle
from tests.factories import EventFactory, ProjectFactory, RunFactory

if TYPE_CHECKING:
    from collections.abc import Callable

    from playwright.sync_api import Page

LIST = url_of("admin:agentstate_agentworkflowrun_changelist")
MOMENT = datetime(2024, 5, 1, 12, tzinfo=UTC)
NASTY = "<script>alert(1)</script></textarea>\u202egnihtyna"


def make_runs() -> None:
    project = ProjectFactory(id="p", name=f"Trails {NASTY}")
    for number, status in enumerate(("succeeded", "failed", "running", "pending", "canceled")):
        RunFactory(
            id=f"{status}-run",
            project=project,
            status=status,
            workflow_id="draft" if number % 2 else "intake",
            started_at=MOMENT + timedelta(days=number),
            completed_at=MOMENT + timedelta(days=number, seconds=80) if number < 2 else None,
            error=f"ValueError: {NASTY} {'long ' * 60}\nTraceback" if status == "failed" else None,
            state={} if number == 0 else None,
        )


def test_the_list_fits_and_passes_axe(page: Page, accessible: Callable[..., None]) -> None:
    make_runs()
    page.goto(LIST)
    expect(page.locator("#result_list tbody tr")).to_have_count(5)
    expect(page.locator('[data-status="failed"]')).to_be_visible()
    for _ in at_each_size(page):
        assert fits(page)
        accessible()


@pytest.mark.parametrize("screen", [PHONE, DESKTOP], ids=["phone", "desktop"])
def test_errors_are_visible_beside_long_names(page: Page) -> None:
    project = ProjectFactory(name="Unbreakable" * 30)
    RunFactory(project=project, workflow_id="w" * 100, status="failed", error="FunderPortalDown: The portal is closed")
    page.goto(LIST)
    cells = page.locator("#result_list tbody").locator("th, td")
    last = page.locator(".field-first_line_of_error")
    expect(last).to_contain_text("FunderPortalDown")
    room = page.locator("#changelist .results").bounding_box()
    boxes = [cell.bounding_box() for cell in cells.all() if cell.is_visible()]
    assert room
    assert all(box and box["x"] + box["width"] <= room["x"] + room["width"] for box in boxes)


def test_the_list_is_filtered_by_keyboard(page: Page) -> None:
    make_runs()
    page.goto(LIST)
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.textContent") == "failed":
            break
    page.keyboard.press("Enter")
    expect(page.locator("#result_list tbody tr")).to_have_count(1)
    expect(page.get_by_text("failed-run")).to_be_visible()
    page.keyboard.press("Tab")
    page.get_by_role("link", name="Clear all filters").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#result_list tbody tr")).to_have_count(5)


def test_days_are_chosen_and_cleared(page: Page) -> None:
    make_runs()
    page.goto(f"{LIST}?workflow=intake")
    page.get_by_label("From:").fill("2024-05-02T00:00")
    page.get_by_label("To:").fill("2024-05-03T23:59")
    page.locator("form:has(#id_started_at-since)").get_by_role("button", name="Apply").click()
    expect(page.locator("#result_list tbody tr")).to_have_count(1)
    expect(page.get_by_text("running-run")).to_be_visible()
    page.get_by_role("link", name="Any time").click()
    expect(page.locator("#result_list tbody tr")).to_have_count(3)


def test_a_search_keeps_the_filters_and_is_cleared(page: Page) -> None:
    make_runs()
    RunFactory(project=ProjectFactory(name="Else"), workflow_id="intake")
    page.goto(f"{LIST}?workflow=intake")
    page.get_by_label("The beginning of a run's id").fill("trails")
    page.get_by_role("button", name="Search").click()
    expect(page.locator("#result_list tbody tr")).to_have_count(3)
    page.get_by_role("link", name="Clear the search").click()
    expect(page.locator("#result_list tbody tr")).to_have_count(4)


def test_older_runs_are_paged_to_and_back(page: Page) -> None:
    project = ProjectFactory()
    for number in range(60):
        RunFactory(id=f"run-{number:02}", project=project, started_at=MOMENT + timedelta(minutes=number))
    page.goto(LIST)
    expect(page.get_by_text("run-59")).to_be_visible()
    page.get_by_role("link", name="Older").click()
    expect(page.get_by_text("run-00")).to_be_visible()
    expect(page.locator("#result_list tbody tr")).to_have_count(10)
    page.get_by_role("link", name="Newer").click()
    expect(page.get_by_text("run-59")).to_be_visible()


def test_the_exact_time_is_there_on_hover(page: Page) -> None:
    RunFactory(started_at=MOMENT)
    page.goto(LIST)
    expect(page.locator("#result_list time")).to_have_attribute("title", "2024-05-01 12:00:00.000000 UTC")


def test_all_failed_calls_of_a_tool_in_the_last_hour(page: Page) -> None:
    now = timezone.now()
    error = "PortalClosedUnexpectedly: the portal closed the connection"
    run = RunFactory(id="guilty-run", started_at=now - timedelta(hours=3), status="failed", error=error)
    for minutes, status in ((150, "error"), (50, "error"), (20, "ok")):
        at = now - timedelta(minutes=minutes)
        members = {"call_id": f"call-{minutes}", "tool": "search_portal"}
        EventFactory(run=run, type="tool.invocation", payload={**members, "arguments": {}}, created_at=at)
        result = {**members, "status": status, "error": "PortalDown: closed" if status == "error" else None}
        EventFactory(run=run, type="tool.result", payload=result, created_at=at + timedelta(seconds=1))
    other = RunFactory(id="other-run", started_at=now)
    EventFactory(run=other, type="tool.invocation", payload={"tool": "search_portal"})
    page.goto(LIST)
    page.get_by_label("Tool", exact=True).fill("search_portal")
    page.get_by_label("Its call").select_option("failed")
    page.locator("form:has(#id_tool)").get_by_role("button", name="Apply").click()
    page.get_by_role("link", name="1 h", exact=True).click()
    rows = page.locator("#result_list tbody tr")
    expect(rows).to_have_count(1)
    expect(rows).to_contain_text("PortalDown: closed")
    expect(rows.get_by_role("button", name="Copy the id guilty-run")).to_be_visible()
    settle(page)
    assert page.locator(".results").evaluate("results => results.scrollWidth <= results.clientWidth")
    rows.locator(".field-call a").click()
    expect(page).to_have_url(re.compile(r"/guilty-run/change/\?event="))
    page.get_by_role("link", name="Back to the list").click()
    expect(rows).to_have_count(1)


def test_errors_and_two_runs_side_by_side_fit_and_pass_axe(page: Page, accessible: Callable[..., None]) -> None:
    make_runs()
    now = timezone.now()
    for minutes in (5, 50, 500):
        started = now - timedelta(minutes=minutes)
        RunFactory(
            id=f"r-{minutes}", status="failed", error=f"TimeoutError: call {minutes} {NASTY}", started_at=started
        )
    page.goto(LIST)
    page.get_by_role("link", name="Errors", exact=True).click()
    expect(page.locator(".agentstate-errors tbody tr")).to_have_count(1)
    for _ in at_each_size(page):
        assert fits(page)
        accessible()
    page.get_by_role("link", name="r-5", exact=True).click()
    page.get_by_role("link", name="Compare with…").click()
    page.get_by_role("link", name="r-50", exact=True).click()
    expect(page.locator("h2")).to_have_text(["Input", "Output", "State", "Tool calls"])
    for _ in at_each_size(page):
        assert fits(page)
        accessible()
