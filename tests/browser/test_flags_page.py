"""The page of a flag, in a browser."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.urls import reverse as url_of
from playwright.sync_api import expect

from agentstate.models import Flag
from tests import scenes
from tests.flags import turn

if TYPE_CHECKING:
    from collections.abc import Callable

    from playwright.sync_api import Page


def test_a_flag_is_toggled_and_its_change_is_shown(page: Page, accessible: Callable[..., None]) -> None:
    scenes.open_gates(agentkit_writes=False)
    page.goto(url_of("admin:agentstate_flag_change", args=[Flag.objects.get(name="agentkit_writes").pk]))
    page.get_by_label("everyone", exact=True).check()
    page.get_by_role("button", name="Save and continue editing").click()
    expect(page.get_by_text("nothing checks the conditions")).to_be_visible()
    accessible("main, #content-main")
    page.get_by_label("Save it all the same").check()
    page.get_by_role("button", name="Save and continue editing").click()
    expect(page.get_by_role("row").filter(has_text="ada")).to_be_visible()
    assert Flag.objects.get(name="agentkit_writes").everyone is True
    accessible("main, #content-main")


def test_a_combination_that_refuses_saves_needs_a_tick_and_shows_a_banner_while_it_holds(page: Page) -> None:
    turn("agentkit_writes")
    address = url_of("admin:agentstate_flag_change", args=[turn("legacy_writes", everyone=True).pk])
    page.goto(address)
    page.get_by_label("off", exact=True).check()
    page.get_by_role("button", name="Save", exact=True).click()
    refusal = "agentkit_writes and legacy_writes are both off for all projects: saving is refused there."
    expect(page.get_by_text(refusal)).to_be_visible()
    expect(page.get_by_text("Nothing was saved.")).to_be_visible()
    assert Flag.objects.get(name="legacy_writes").everyone is not False

    page.get_by_label("Save it all the same").check()
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_text("was changed successfully")).to_be_visible()
    for place in ("/admin/agentstate/", "/admin/agentstate/rollout/"):
        page.goto(place)
        expect(page.get_by_role("heading", name="Saves are refused")).to_be_visible()

    page.goto(address)
    page.get_by_label("everyone", exact=True).check()
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_text("was changed successfully")).to_be_visible()
    page.goto("/admin/agentstate/")
    expect(page.get_by_role("heading", name="Saves are refused")).to_have_count(0)
