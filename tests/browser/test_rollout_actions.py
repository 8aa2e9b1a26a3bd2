"""Steps of the rollout in a browser: from the landing page, with progress, and with a reload in the middle."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from agentstate.models import StepRequest
from agentstate.rollout import waiting
from tests.browser.conftest import at_each_size, fits
from tests.rollout.ladder import position, saved_in_agentkit_only, stand_at
from tests.sql import second_connection

if TYPE_CHECKING:
    from collections.abc import Callable

    from playwright.sync_api import Page

LANDING = "/admin/agentstate/"


@pytest.fixture(autouse=True)
def seen_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "SECONDS_UNTIL_SEEN", 0)


def test_a_retreat_is_two_clicks_from_the_landing_page_and_survives_a_reload(page: Page) -> None:
    saved_in_agentkit_only()
    page.goto(LANDING)
    with second_connection() as other, other.transaction():
        other.execute("SELECT 1")
        page.get_by_role("link", name="Retreat").click()
        page.get_by_role("button", name="Retreat").click()
        progress = page.locator(".agentstate-asked")
        expect(progress).to_contain_text("Waiting for older transactions to end (1)")
        page.reload()
        expect(progress).to_contain_text("Retreat from agentkit_only")
        expect(progress).to_contain_text("by ada")

    expect(progress).to_contain_text("Taken.")
    expect(page.get_by_role("heading", name="Stage: agentkit read 100 percent")).to_be_visible()
    assert position() == ("agentkit_read", 100)
    assert StepRequest.objects.get().requested_by == "ada"


def test_the_confirmation_fits_and_is_accessible(page: Page, accessible: Callable[..., None]) -> None:
    stand_at("shadow_read")
    page.goto("/admin/agentstate/rollout/advance/")

    expect(page.get_by_role("heading", name="Override: advance from shadow_read")).to_be_visible()
    expect(page.get_by_label("Reason")).to_have_attribute("required", "")
    for _ in at_each_size(page):
        assert fits(page)
        accessible()
