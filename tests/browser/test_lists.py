"""Lists, in a browser: whatever names are long, all columns are seen."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from django.urls import reverse as url_of
from django.utils import timezone
from playwright.sync_api import expect

from agentstate.models import BackfillPass, FlagChange, LeftAside
from tests.browser.conftest import DESKTOP, PHONE, fits, settle
from tests.factories import ProjectFactory, RunFactory, SessionFactory

if TYPE_CHECKING:
    from playwright.sync_api import Page

LONG = "n" * 1_000


def make_rows() -> None:
    now = timezone.now()
    began = now - timedelta(minutes=59, seconds=50)
    project = ProjectFactory(id=LONG, name=LONG)
    run = RunFactory(project=project, workflow_id=LONG)
    entry = {"role": LONG, "content": LONG, "at": LONG}
    SessionFactory(id="session", project=project, agent_run=run, memory_id=LONG, transcript_json=[entry])
    LeftAside.objects.create(
        project_id=LONG,
        direction="forward",
        error_class="DataError",
        error=LONG,
        first_seen_at=began,
        last_seen_at=began,
    )
    counts = dict.fromkeys(("candidates", "written", "left_aside", "runs", "events", "sessions"), 1_234_567)
    BackfillPass.objects.create(
        direction="forward", requested_by=LONG[:60], outcome="running", started_at=began, seen_at=now, **counts
    )
    FlagChange.objects.create(flag="agentkit_writes", after={"note": LONG}, changed_at=began, changed_by=LONG)


@pytest.mark.parametrize("model", ["project", "agentsession", "leftaside", "backfillpass", "flagchange"])
def test_a_long_name_pushes_no_column_out_of_sight(page: Page, model: str) -> None:
    make_rows()
    page.goto(url_of(f"admin:agentstate_{model}_changelist"))
    for width in (PHONE["width"], 1024, DESKTOP["width"]):
        page.set_viewport_size({"width": width, "height": 900})
        wide, room = page.locator(".results").evaluate("results => [results.scrollWidth, results.clientWidth]")
        assert wide <= room, width
        assert fits(page), width


@pytest.mark.parametrize("screen", [PHONE], ids=["phone"])
def test_filters_come_before_the_rows_and_are_folded_on_a_phone(page: Page) -> None:
    make_rows()
    page.goto(url_of("admin:agentstate_backfillpass_changelist"))
    link = page.get_by_role("link", name="reverse")
    expect(link).to_be_hidden()
    page.get_by_text("Filter", exact=True).click()
    link.click()
    expect(page.get_by_text("Filter: direction")).to_be_visible()
    expect(link).to_be_hidden()
    settle(page)
    assert (
        page.locator("#changelist-filter").bounding_box()["y"] < page.locator("#changelist-form").bounding_box()["y"]
    )


@pytest.mark.parametrize(("width", "height"), [(1440, 900), (1024, 768)])
def test_the_rows_of_a_list_begin_on_the_first_screen(page: Page, width: int, height: int) -> None:
    make_rows()
    page.set_viewport_size({"width": width, "height": height})
    for model in ("agentworkflowrun", "project", "leftaside"):
        page.goto(url_of(f"admin:agentstate_{model}_changelist"))
        assert page.locator("#result_list").bounding_box()["y"] < height * 0.65, model


def test_rare_filters_are_folded_away_until_one_is_set(page: Page) -> None:
    make_rows()
    page.goto(url_of("admin:agentstate_agentworkflowrun_changelist"))
    link = page.get_by_role("link", name="carries none")
    expect(link).to_be_hidden()
    page.get_by_text("More filters").click()
    link.click()
    expect(link).to_be_visible()
    expect(page.get_by_role("link", name="waits for it")).to_be_hidden()


@pytest.mark.parametrize("screen", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_a_sessions_page_is_no_wider_than_the_window_for_long_names(page: Page) -> None:
    make_rows()
    page.goto(url_of("admin:agentstate_agentsession_change", args=["session"]))
    assert fits(page)
    entry = page.locator("#entry-1")
    assert entry.evaluate("entry => entry.scrollWidth <= entry.clientWidth")
