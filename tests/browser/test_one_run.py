"""A long run, in a browser: from the landing page to the call that failed, and to any part of it."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from django.urls import reverse as url_of
from django.utils import timezone
from playwright.sync_api import expect

from agentstate.recording import record
from tests.admin.run.timeline.scenes import add_event, add_events, make_run
from tests.browser.conftest import at_each_size, fits
from tests.browser.test_timeline import open_run, row, rows
from tests.factories import ProjectFactory
from tests.scenes import open_gates
from tests.sql import sql

if TYPE_CHECKING:
    from collections.abc import Callable

    from playwright.sync_api import Page

    from agentstate.models import AgentWorkflowRun


@pytest.fixture
def long_run() -> AgentWorkflowRun:
    """A run of an hour with three failed calls, each of which began a while before it failed."""
    run = make_run(status="failed", error="TimeoutError: no answer", completed_at=timezone.now())
    add_events(run, 3_000)
    for number, at in enumerate((800.5, 1600.5, 2400.5)):
        arguments = f'{{"call_id": "c{number}", "tool": "search", "arguments": {{"query": "grant {number}"}}}}'
        add_event(run, "tool.invocation", arguments, at)
        result = f'{{"call_id": "c{number}", "tool": "search", "status": "error", "error": "no answer {number}"}}'
        add_event(run, "tool.result", result, at + 20)
    began = timezone.now() - timedelta(hours=1)
    sql('UPDATE "AgentWorkflowRun" SET started_at = %s WHERE id = %s', began, run.pk)
    shift = 'UPDATE "AgentWorkflowRunEvent" SET created_at = created_at + %s WHERE run_id = %s'
    sql(shift, began - run.started_at, run.pk)
    return run


def test_three_clicks_lead_from_the_landing_page_to_the_arguments_of_the_failing_call(
    page: Page, long_run: AgentWorkflowRun, accessible: Callable[..., None]
) -> None:
    page.goto(url_of("admin:index"))
    page.locator('a[href$="/agentworkflowrun/"]').first.click()
    page.locator(f'#result_list a[href*="{long_run.pk}"]').first.click()
    expect(page.get_by_text("3 failures, first at +13:40.5")).to_be_visible()
    page.get_by_role("link", name="+40:20.5").click()
    chosen = page.locator("#chosen")
    expect(chosen).to_be_in_viewport()
    expect(chosen).to_contain_text('"query": "grant 2"')
    expect(chosen).to_contain_text("no answer 2")
    for _ in at_each_size(page):
        assert fits(page)
        accessible()


def test_the_strip_leads_to_any_part_of_the_run(
    page: Page, long_run: AgentWorkflowRun, accessible: Callable[..., None]
) -> None:
    open_run(page, long_run.pk, "?at=first")
    strip = page.locator("[data-overview]")
    expect(strip).to_contain_text(re.compile(r"Events 1.100 of 3,006"))
    expect(strip.locator(".agentstate-strip-failure")).to_have_count(3)
    accessible()
    strip.locator("a").nth(50).click()
    expect(strip).to_contain_text(re.compile(r"Events 1,\d\d\d.1,\d\d\d of 3,006"))
    page.get_by_label("Jump to an offset").fill("+13:40")
    page.get_by_role("button", name="Jump").click()
    expect(page.locator("#chosen")).to_be_in_viewport()
    expect(page.locator("#chosen .agentstate-at")).to_have_text("+13:40.0")


def test_failures_only_shows_each_call_whole_and_a_link_leads_out(page: Page, long_run: AgentWorkflowRun) -> None:
    open_run(page, long_run.pk, "?failures=1")
    expect(rows(page)).to_have_count(3)
    second = rows(page).nth(1)
    second.locator("summary").first.click()
    expect(second).to_contain_text('"query": "grant 1"')
    second.get_by_role("link", name="Link to this event").last.click()
    expect(page.locator("#chosen")).to_be_in_viewport()
    expect(page.locator("#chosen")).to_contain_text("no answer 1")


def test_a_tree_is_shown_and_folds(page: Page, accessible: Callable[..., None]) -> None:
    with record("intake") as run, run.tool("outer"), run.tool("inner"):
        run.event("note", {"text": "# Title"})
    open_run(page, run.run_id)
    expect(rows(page)).to_have_count(3)
    accessible()
    folds = page.get_by_role("button", name="What happened inside")
    expect(folds).to_have_count(2)
    folds.first.click()
    expect(row(page, "inner")).to_be_hidden()
    expect(row(page, "note")).to_be_hidden()
    folds.first.click()
    expect(row(page, "note")).to_be_visible()
    note = row(page, "note")
    note.locator("summary").first.click()
    note.get_by_text("As Markdown", exact=True).click()
    expect(note.get_by_role("heading", name="Title")).to_be_visible()
    note.get_by_role("button", name="Copy").click()
    expect(note.get_by_role("button", name="Copied")).to_be_visible()
    for _ in at_each_size(page):
        assert fits(page)
        accessible()


def test_a_save_unfolds_to_what_it_changed(page: Page, accessible: Callable[..., None]) -> None:
    open_gates(agentkit_writes=True)
    project = ProjectFactory(documents={"facts": '{"pages": 5, "name": "Reef"}'})
    with record("draft", project.pk) as run:
        run.save(facts={"pages": 7, "name": "Reef"})
    open_run(page, run.run_id)
    saved = row(page, "saved facts")
    saved.locator("summary").first.click()
    expect(saved).to_contain_text(re.compile(r"facts\.pages 5\s*→ 7"))
    expect(saved).not_to_contain_text("Reef")
    saved.get_by_text("Documents").click()
    expect(saved).to_contain_text("Reef")
    accessible()
