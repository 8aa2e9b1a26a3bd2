"""The page of a flag, in a browser."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.urls import reverse as url_of
from playwright.sync_api import expect

from agentstate.models import Flag
from tests import scenes

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
