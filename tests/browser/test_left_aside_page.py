"""Decisions about what was left aside, in a browser."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.urls import reverse as url_of
from playwright.sync_api import expect

from agentstate.models import LeftAside
from tests import scenes
from tests.backfill.test_left_aside import LONG
from tests.browser.conftest import at_each_size, fits
from tests.factories import ProjectFactory, write_columns

if TYPE_CHECKING:
    from collections.abc import Callable

    from playwright.sync_api import Page


def open_page(page: Page) -> None:
    page.goto(url_of("admin:agentstate_leftaside_change", args=[LeftAside.objects.get().pk]))


def test_an_entry_is_accepted_and_a_retry_that_fails_opens_it_again(
    page: Page, accessible: Callable[..., None]
) -> None:
    ProjectFactory(id=LONG, documents={"facts": "[1]"})
    scenes.forward()
    open_page(page)
    for _ in at_each_size(page):
        assert fits(page)
        accessible()

    page.get_by_role("link", name="Accept with a note…").click()
    expect(page.get_by_text("(facts; 14 bytes) are not taken into the history.")).to_be_visible()
    page.get_by_label("Note").fill("ok")
    page.get_by_role("button", name="Accept and give up").click()
    expect(page.get_by_text("at least 3 characters")).to_be_visible()
    for _ in at_each_size(page):
        assert fits(page)
        accessible()
    page.get_by_label("Note").fill("A trial of 2023 that its owner gave up.")
    page.get_by_role("button", name="Accept and give up").click()

    expect(page.get_by_text("Accepted. The content below is given up.")).to_be_visible()
    decisions = page.get_by_role("region", name="Decisions").get_by_role("listitem")
    expect(decisions).to_have_count(1)
    expect(decisions).to_contain_text("by ada")
    expect(decisions).to_contain_text("A trial of 2023 that its owner gave up.")
    assert LeftAside.objects.accepted().count() == 1
    for _ in at_each_size(page):
        accessible()

    page.get_by_role("button", name="Retry").click()
    expect(page.get_by_text("Failed again; the entry is open: ProgramLimitExceeded.")).to_be_visible()
    expect(decisions).to_have_count(2)
    expect(decisions.first).to_contain_text("Reopened")
    assert LeftAside.objects.open().get().attempts == 2
    for _ in at_each_size(page):
        assert fits(page)


def test_a_retry_that_moves_the_project_closes_the_entry(page: Page, accessible: Callable[..., None]) -> None:
    project = ProjectFactory(documents={"facts": "[1]"})
    scenes.forward()
    scenes.empty_columns(project.id)
    scenes.forward()
    write_columns(project.id, {"facts": "[2]"})
    open_page(page)
    page.get_by_role("button", name="Retry").click()

    expect(page.get_by_text("Closed: the project was moved, or nothing was left to move.")).to_be_visible()
    expect(page.get_by_role("button", name="Retry")).to_have_count(0)
    assert LeftAside.objects.get().status == "closed"
    accessible()
