"""The rollout's page, in a browser."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from django.core.cache import cache
from django.utils import timezone
from playwright.sync_api import expect

from agentstate.backfill.acceptance import accept
from agentstate.models import BackfillPass, Flag, LeftAside, Project, ReadDifference, RolloutStep
from tests import scenes
from tests.browser.conftest import at_each_size, fits
from tests.contract.scenes import columns_return, freeze_columns
from tests.factories import ProjectFactory, write_columns
from tests.flags import turn
from tests.rollout.ladder import found_by_reads, stand_at

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from playwright.sync_api import Page

PAGE = "/admin/agentstate/rollout/"
LONG = "a/" + "long-id-" * 30


@pytest.fixture(autouse=True)
def nothing_is_known() -> Iterator[None]:
    cache.clear()
    yield
    cache.clear()


def fill() -> None:
    """Make something of everything that the page can show."""
    for name in ("synced", "ahead", "behind", "forked", "escaped", "left", "given-up", LONG):
        ProjectFactory(id=name, documents={"facts": "1"})
    scenes.forward()
    stand_at("agentkit_read", 10)
    for name in ("ahead", "forked"):
        scenes.save(name, "facts", "2", legacy=False)
    write_columns("escaped", {"facts": "3"})
    scenes.forward("escaped")
    for name in ("left", "given-up"):
        scenes.empty_columns(name)
    scenes.forward("left", "given-up")
    accept(LeftAside.objects.get(project_id="given-up"), "Nobody needs it.", by="grace")
    for name in ("behind", "forked", LONG):
        write_columns(name, {"facts": "3"})
    stand_at("agentkit_read", 10)
    turn("agentkit_reads", percent=10, project_ids=[LONG, "synced"], staff=True)
    now = timezone.now()
    for ago in range(40):
        found_by_reads("compared", 100 + ago, ago=ago, now=now)
    found_by_reads("difference", 3, ago=5, reason="facts")
    found_by_reads("lag", 9, ago=7, reason="legacy_ahead")
    found_by_reads("fallback", 1, ago=2, reason="no_snapshot")
    ReadDifference.objects.create(
        at=timezone.now(), project_id=LONG, state_key="facts", path="facts." + "x" * 150, legacy='"' + "y" * 200
    )
    BackfillPass.objects.create(
        direction="forward", requested_by="ada@app-1", started_at=now, seen_at=now, candidates=9000, written=3000
    )
    RolloutStep.objects.create(
        at=now - timedelta(hours=2),
        from_stage="shadow_read",
        from_percent=0,
        to_stage="agentkit_read",
        to_percent=10,
        requested_by="ada@app-1",
        override="The customer waits.",
        conditions=[{"name": "differences", "holds": False, "figure": 3, "needed": 0, "age_seconds": 9}],
        completed_at=now,
    )


def test_the_page_fits_and_passes_axe(page: Page, accessible: Callable[..., None]) -> None:
    fill()
    page.goto(PAGE)

    expect(page.get_by_role("heading", name="Stage: agentkit read 10 percent")).to_be_visible()
    expect(page.get_by_role("heading", name="Reached by override")).to_be_visible()
    expect(page.get_by_role("region", name="Projects left aside").get_by_text("Nobody needs it.")).to_be_visible()
    for _ in at_each_size(page):
        assert fits(page)
        accessible()


def test_the_page_of_an_empty_database_fits(page: Page, accessible: Callable[..., None]) -> None:
    stand_at("legacy")
    page.goto(PAGE)

    expect(page.get_by_text("Open: its one condition is met.")).to_be_visible()
    for _ in at_each_size(page):
        assert fits(page)
        accessible()


def test_off_the_ladder_the_commands_are_named(page: Page, accessible: Callable[..., None]) -> None:
    stand_at("dual_write")
    turn("legacy_writes", everyone=False)
    page.goto(PAGE)

    expect(page.get_by_role("heading", name="off the ladder")).to_be_visible()
    expect(page.get_by_text("manage.py waffle_flag legacy_writes --everyone").first).to_be_visible()
    for _ in at_each_size(page):
        assert fits(page)
        accessible()


def test_frozen_columns_are_reported(page: Page, accessible: Callable[..., None]) -> None:
    with columns_return():
        freeze_columns()
        page.goto(PAGE)

        expect(page.get_by_text("Frozen since")).to_be_visible()
        expect(page.locator("[aria-current=step]")).to_contain_text("frozen")
        for _ in at_each_size(page):
            assert fits(page)
            accessible()


def test_the_index_leads_there_and_numbers_lead_to_projects(page: Page) -> None:
    fill()
    page.goto("/admin/")
    page.get_by_role("link", name="Rollout", exact=True).first.click()
    page.get_by_role("row", name="forked").get_by_role("link", name="1").click()

    expect(page.locator("#result_list tbody tr")).to_have_count(1)
    expect(page.locator("#result_list").get_by_role("link", name="forked", exact=True)).to_be_visible()


def test_counting_again_updates_the_number_in_place(page: Page) -> None:
    ProjectFactory()
    page.goto(PAGE)
    standings = page.get_by_role("region", name="Standings")
    empty = standings.get_by_role("row", name="empty").get_by_role("link")
    expect(empty).to_have_text("1")
    ProjectFactory()

    page.reload()
    expect(empty).to_have_text("1")
    standings.get_by_role("button", name="Count again").press("Enter")

    expect(empty).to_have_text("2")
    expect(standings).to_be_in_viewport()
    assert Project.objects.count() == 2


def test_a_toggle_is_one_click_away_and_its_change_is_shown(page: Page) -> None:
    stand_at("legacy")
    page.goto(PAGE)
    page.get_by_role("link", name="Toggle agentkit_writes").click()
    page.get_by_label("everyone", exact=True).check()
    page.get_by_role("button", name="Save", exact=True).click()
    page.get_by_label("Save it all the same").check()
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_text("was changed successfully")).to_be_visible()
    page.goto(PAGE)

    expect(page.get_by_role("heading", name="Stage: dual write")).to_be_visible()
    gate = page.get_by_role("row", name="agentkit_writes")
    expect(gate).to_contain_text("on for everyone")
    expect(gate).to_contain_text("by ada")
    assert Flag.objects.get(name="agentkit_writes").everyone is True


def test_conditions_lead_to_what_is_behind_them_by_keyboard(page: Page) -> None:
    fill()
    found_by_reads("difference", 2, reason="facts")
    page.goto(PAGE)
    differences = page.get_by_role("row", name="Differences that shadow reads found").get_by_role("link")
    differences.focus()
    page.keyboard.press("Enter")

    expect(page).to_have_url(re.compile("#agentstate-differences$"))
    expect(page.get_by_role("heading", name="The last differences")).to_be_in_viewport()


def test_a_bar_explains_what_it_counts(page: Page) -> None:
    fill()
    page.goto(PAGE)
    plot = page.get_by_role("img", name="Differences by the hour: 3 in 48 hours")

    expect(plot.locator("rect")).to_have_count(1)
    expect(plot.locator("rect title")).to_contain_text(": 3")
    box, bar = plot.bounding_box(), plot.locator("rect").bounding_box()
    assert box
    assert bar
    assert box["x"] <= bar["x"] <= box["x"] + box["width"]
    assert bar["height"] == pytest.approx(40, abs=1)
