"""What an intake found, in a browser: the panels, the passages side by side, a decision."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from django.urls import reverse as url_of
from playwright.sync_api import expect

from agentstate.intake.reading import SourceFile, read
from agentstate.orchestrator import ingest
from agentstate.samples.call import sample_call
from tests.browser.conftest import at_each_size, fits
from tests.factories import ProjectFactory
from tests.flags import turn

if TYPE_CHECKING:
    from collections.abc import Callable

    from playwright.sync_api import Locator, Page

PROJECT = "rivers"


@pytest.fixture(autouse=True)
def ingested(page: Page) -> None:
    turn("agentkit_writes", everyone=True)
    ProjectFactory(id=PROJECT, name="Healthy Rivers")
    ingest(PROJECT, texts=[read(SourceFile(name, content)) for name, content in sample_call().items()])
    page.goto(url_of("admin:agentstate_project_change", args=[PROJECT]))


def panel(page: Page, name: str) -> Locator:
    return page.get_by_role("region", name=name, exact=True)


def test_the_panels_render_after_an_intake(page: Page, accessible: Callable[..., None]) -> None:
    limit = panel(page, "Conflicts").get_by_role("listitem").filter(has_text="Project narrative pages")
    expect(limit).to_contain_text("15 pages")
    expect(limit).to_contain_text("5 pages")
    expect(panel(page, "Eligibility").get_by_role("listitem").filter(has_text="501(c)(3)")).to_contain_text("fatal")
    expect(panel(page, "Coverage").get_by_role("img", name="Score 0")).to_be_visible()
    for _ in at_each_size(page):
        assert fits(page)
        accessible()

    limit.get_by_role("link", name="Compare passages").click()
    expect(page.get_by_role("region", name="Previous").locator("mark")).to_have_text(
        "The project narrative shall not exceed 15 pages."
    )
    expect(page.get_by_role("region", name="Next").locator("mark")).to_contain_text("shall not exceed 5 pages.")
    for name in ("healthy-rivers-call.docx", "healthy-rivers-addendum-1.pdf"):
        expect(page.get_by_role("link", name=name)).to_be_visible()
    for _ in at_each_size(page):
        assert fits(page)
        accessible()

    page.get_by_role("link", name="healthy-rivers-call.docx").click()
    expect(page.locator("mark#passage")).to_have_text("The project narrative shall not exceed 15 pages.")
    for _ in at_each_size(page):
        assert fits(page)
        accessible()


def test_a_conflict_is_resolved_from_the_panel(page: Page) -> None:
    limit = panel(page, "Conflicts").get_by_role("listitem").filter(has_text="Project narrative pages")
    limit.get_by_role("button", name="Put the previous back").click()
    expect(page.get_by_text("Resolved: previous.")).to_be_visible()
    expect(limit).to_contain_text("resolved: previous")


def test_an_item_is_overridden(page: Page) -> None:
    item = panel(page, "Eligibility").get_by_role("listitem").filter(has_text="501(c)(3)").first
    item.get_by_role("link", name="Override or see its passage").click()
    page.get_by_label("Not fatal").check()
    page.get_by_label("Note").fill("A fiscal sponsor applies.")
    page.get_by_role("button", name="Override").click()
    expect(page.get_by_text("Overridden: not fatal.")).to_be_visible()
    expect(panel(page, "Eligibility")).to_contain_text("1 overridden")
